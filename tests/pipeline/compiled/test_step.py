"""A step as a cluster starts it: an ExecutorInput in, artifacts and an ExecutorOutput out, or an error that is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.proto.orchestration import execution_result_pb2

from pipeline.compiled import handover, step
from schema.errors import DataRejected

SEEN: dict[str, Any] = {}
EXAMPLES = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
GATE = {"instanceSchema": "title: components.DataGateResult\ntype: object\n"}


class Splitting(base_executor.BaseExecutor):
    """Makes two artifacts of one output, and writes into another."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> Any:  # noqa: N802
        SEEN.update(inputs=input_dict, properties=exec_properties, run_id=self._context.pipeline_run_id)
        SEEN["temporary"] = self._get_tmp_dir()
        (gate,) = output_dict["gate"]
        gate.set_int_custom_property("warnings", 3)
        (Path(gate.uri) / "gate.json").write_text("{}", encoding="utf-8")
        output = execution_result_pb2.ExecutorOutput()
        for n in range(exec_properties["count"]):
            one = types.standard_artifacts.Examples()
            one.uri = f"{output_dict['examples'][0].uri}/span-{n}"
            one.span = n
            output.output_artifacts["examples"].artifacts.append(one.mlmd_artifact)
        output.output_artifacts["examples"].artifacts.extend([])
        return output


class Refusing(base_executor.BaseExecutor):
    def Do(self, *_: Any) -> None:  # noqa: N802
        raise DataRejected("span 3 has no rows", hint="look at it")


class Broken(base_executor.BaseExecutor):
    def Do(self, *_: Any) -> None:  # noqa: N802
        raise ValueError("no such thing")


def call(executor: type, root: str, *, inputs: dict[str, Any] | None = None, **parameters: Any) -> int:
    told = {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {
                key: {"artifacts": [{"name": key, "uri": uri, "type": EXAMPLES}]} for key, uri in (inputs or {}).items()
            },
        },
        "outputs": {
            "outputFile": f"{root}/executor_output.json",
            "artifacts": {
                key: {"artifacts": [{"name": f"job/{key}", "uri": f"{root}/{key}", "type": kind}]}
                for key, kind in (("examples", EXAMPLES), ("gate", GATE))
            },
        },
    }
    spec = {"parameters": {"count": {"parameterType": "NUMBER_INTEGER"}, "text": {"parameterType": "STRING"}}}
    return step.main(
        [
            *("--executor_class_path", f"{executor.__module__}.{executor.__qualname__}"),
            *("--json_serialized_invocation_args", json.dumps(told)),
            *("--json_serialized_inputs_spec_args", json.dumps(spec)),
            *("--run_id", "job-1", "--direct_num_workers=1"),
        ]
    )


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    # TFX imports an executor by its module's name.
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[Splitting.__module__])
    SEEN.clear()


def test_a_step_writes_what_it_made_and_what_the_service_wants_to_know(tmp_path: Path) -> None:
    root = tmp_path / "task"
    assert call(Splitting, str(root), count=2, text="x") == 0
    assert SEEN["properties"] == {"count": 2, "text": "x"}
    assert type(SEEN["properties"]["count"]) is int
    assert SEEN["run_id"] == "job-1"
    made = handover.take(root / "examples") or []
    assert [(one.uri, one.properties["span"].int_value) for one in made] == [
        (str(root / "examples" / "span-0"), 0),
        (str(root / "examples" / "span-1"), 1),
    ]
    written = json.loads((root / "executor_output.json").read_text(encoding="utf-8"))["artifacts"]
    (gate,) = written["gate"]["artifacts"]
    assert (gate["name"], gate["uri"], gate["metadata"]["warnings"]) == ("job/gate", str(root / "gate"), 3.0)
    assert written["examples"]["artifacts"][0]["name"] == "job/examples"


def test_the_next_step_is_given_all_of_them(tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert call(Splitting, str(first), count=3, text="") == 0
    assert call(Splitting, str(tmp_path / "next"), inputs={"spans": str(first / "examples")}, count=0, text="") == 0
    spans = SEEN["inputs"]["spans"]
    assert [(type(one).__name__, one.span) for one in spans] == [("Examples", 0), ("Examples", 1), ("Examples", 2)]
    assert len({one.id for one in spans}) == 3
    assert handover.take(tmp_path / "next" / "examples") == []


def test_an_artifact_that_no_step_of_ours_made_is_given_as_it_is(tmp_path: Path) -> None:
    assert call(Splitting, str(tmp_path / "task"), inputs={"spans": "/somewhere/else"}, count=0, text="") == 0
    (artifact,) = SEEN["inputs"]["spans"]
    assert artifact.uri == "/somewhere/else"


def test_buckets_are_read_and_written_where_they_are_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVEYOR_GCS_MOUNT", str(tmp_path))
    assert call(Splitting, "gs://bucket/root/one", count=1, text="") == 0
    folder = tmp_path / "bucket" / "root" / "one"
    assert (folder / "gate" / "gate.json").is_file()
    written = json.loads((folder / "executor_output.json").read_text(encoding="utf-8"))["artifacts"]
    assert written["gate"]["artifacts"][0]["uri"] == "gs://bucket/root/one/gate"
    assert call(Splitting, "gs://bucket/root/two", inputs={"s": "gs://bucket/root/one/examples"}, count=0, text="") == 0
    assert SEEN["inputs"]["s"][0].uri == str(folder / "examples" / "span-0")


def test_what_an_attempt_before_has_left_is_gone(tmp_path: Path) -> None:
    left = tmp_path / "task" / "gate" / "half"
    left.parent.mkdir(parents=True)
    left.write_text("half", encoding="utf-8")
    assert call(Splitting, str(tmp_path / "task"), count=0, text="") == 0
    assert not left.exists()


@pytest.mark.parametrize(
    ("executor", "code", "told"),
    [
        (Refusing, 4, {"type": "DataRejected", "message": "span 3 has no rows", "hint": "look at it"}),
        (Broken, 1, {"type": "ValueError", "message": "no such thing", "hint": ""}),
    ],
)
def test_a_failure_is_an_exit_code_and_a_file(tmp_path: Path, executor: type, code: int, told: dict[str, str]) -> None:
    assert call(executor, str(tmp_path / "task")) == code
    assert json.loads((tmp_path / "task" / step.ERROR_FILE).read_text(encoding="utf-8")) == told
    assert not (tmp_path / "task" / "executor_output.json").exists()
