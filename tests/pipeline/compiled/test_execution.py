"""A compiled pipeline is carried out from its JSON alone: order, placeholders, artifacts from step to step, errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.compiled.execution import StepFailed, execute, task_order
from pipeline.events import NodeEvent
from schema.errors import DataRejected, UsageError

TYPE = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
# A container's program: says what it was told, and writes what a step has to write.
PROGRAM = """
import json, os, sys
told = json.loads(sys.argv[1])
print("hello from", sys.argv[2])
outputs = {}
for key, value in told["outputs"]["artifacts"].items():
    (artifact,) = value["artifacts"]
    os.makedirs(artifact["uri"])
    with open(os.path.join(artifact["uri"], "told.json"), "w") as file:
        json.dump({"argv": sys.argv[2:], "cwd": os.getcwd(), "inputs": told["inputs"]}, file)
    outputs[key] = {"artifacts": [{**artifact, "metadata": {"said": 1}}]}
with open(told["outputs"]["outputFile"], "w") as file:
    json.dump({"artifacts": outputs}, file)
"""


def task(name: str, *producers: str, **parameters: Any) -> dict[str, Any]:
    artifacts = {
        f"from_{one}": {"taskOutputArtifact": {"producerTask": one, "outputArtifactKey": "made"}} for one in producers
    }
    given_ = {key: {"runtimeValue": {"constant": value}} for key, value in parameters.items()}
    return {"componentRef": {"name": name}, "inputs": {"artifacts": artifacts, "parameters": given_}}


def job(tmp_path: Path, tasks: dict[str, Any], program: str = PROGRAM, **container: Any) -> dict[str, Any]:
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    how = {"command": ["python", str(file)], "args": ["{{$}}", "{{$.pipeline_job_name}}/{{$.pipeline_task_name}}"]}
    return {
        "runtimeConfig": {"gcsOutputDirectory": str(tmp_path / "root")},
        "pipelineSpec": {
            "pipelineInfo": {"name": "toy"},
            "root": {"dag": {"tasks": tasks}},
            "components": {
                name: {
                    "executorLabel": f"{name}_executor",
                    "outputDefinitions": {"artifacts": {"made": {"artifactType": TYPE}}},
                }
                for name in tasks
            },
            "deploymentSpec": {
                "executors": {f"{name}_executor": {"container": {**how, **container}} for name in tasks}
            },
        },
    }


def run(compiled: dict[str, Any], **options: Any) -> list[NodeEvent]:
    events: list[NodeEvent] = []
    execute(compiled, "run-1", events.append, **options)
    return events


def told(tmp_path: Path, name: str) -> dict[str, Any]:
    return json.loads((tmp_path / "root" / "toy" / "run-1" / name / "made" / "told.json").read_text(encoding="utf-8"))


def test_each_step_is_told_what_earlier_ones_wrote(tmp_path: Path) -> None:
    tasks = {"last": task("last", "first", number=2.0), "first": task("first", text='a "quoted" {text}')}
    log = tmp_path / "steps.txt"
    events = run(job(tmp_path, tasks), log=log)
    assert [(event.node, event.state) for event in events] == [
        ("first", "running"),
        ("first", "done"),
        ("last", "running"),
        ("last", "done"),
    ]
    first, last = told(tmp_path, "first"), told(tmp_path, "last")
    assert first["inputs"] == {"artifacts": {}, "parameterValues": {"text": 'a "quoted" {text}'}}
    assert last["inputs"]["parameterValues"] == {"number": 2.0}
    (artifact,) = last["inputs"]["artifacts"]["from_first"]["artifacts"]
    assert artifact["uri"] == str(tmp_path / "root" / "toy" / "run-1" / "first" / "made")
    assert (artifact["metadata"], artifact["type"]) == ({"said": 1}, TYPE)
    assert first["argv"] == ["run-1/first"]
    assert log.read_text(encoding="utf-8") == "== first\nhello from run-1/first\n== last\nhello from run-1/last\n"


def test_another_root_takes_the_place_of_the_jobs(tmp_path: Path) -> None:
    compiled = job(tmp_path, {"one": task("one")})
    compiled["runtimeConfig"]["gcsOutputDirectory"] = "gs://bucket/root"
    run(compiled, pipeline_root=str(tmp_path / "root"))
    assert told(tmp_path, "one")


def test_a_step_finds_this_python_and_its_own_folder(tmp_path: Path) -> None:
    program = PROGRAM + "\nassert os.path.dirname(sys.executable) in sys.argv[3], sys.executable\n"
    compiled = job(tmp_path, {"one": task("one")}, program)
    container = compiled["pipelineSpec"]["deploymentSpec"]["executors"]["one_executor"]["container"]
    container["args"].append(str(Path(sys.executable).parent))
    run(compiled)
    assert told(tmp_path, "one")["cwd"].endswith("run-1/one")


def test_a_failure_says_what_the_step_printed_and_ends_the_run(tmp_path: Path) -> None:
    program = "import sys; print('the disk is full'); sys.exit(3)"
    events: list[NodeEvent] = []
    with pytest.raises(StepFailed, match=r"(?s)first: the step's process ended with exit code 3\..*the disk is full"):
        execute(job(tmp_path, {"first": task("first"), "next": task("next", "first")}, program), "r", events.append)
    assert [(event.node, event.state) for event in events] == [("first", "running"), ("first", "failed")]
    assert isinstance(events[1].error, StepFailed)


def test_an_error_of_ours_keeps_its_kind_and_its_hint(tmp_path: Path) -> None:
    document = {"type": "DataRejected", "message": "span 3 has no rows", "hint": "look at it"}
    program = f"import json, sys; json.dump({document!r}, open('error.json', 'w')); sys.exit(4)"
    with pytest.raises(DataRejected, match="span 3 has no rows") as raised:
        run(job(tmp_path, {"one": task("one")}, program))
    assert (raised.value.hint, raised.value.exit_code) == ("look at it", 4)


@pytest.mark.parametrize("kind", ["ValueError", "annotations", "__name__"])
def test_an_error_of_no_kind_of_ours_is_a_failed_step(tmp_path: Path, kind: str) -> None:
    document = {"type": kind, "message": "what", "hint": ""}
    program = f"import json, sys; json.dump({document!r}, open('error.json', 'w')); sys.exit(1)"
    with pytest.raises(StepFailed, match=f"one: {kind}: what"):
        run(job(tmp_path, {"one": task("one")}, program))


def test_an_unknown_placeholder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"one: the placeholder \{\{\$\.secret\}\} must be one of"):
        run(job(tmp_path, {"one": task("one")}, args=["{{$.secret}}"]))


def test_a_circle_is_refused() -> None:
    with pytest.raises(UsageError, match="no circle"):
        task_order({"a": task("a", "b"), "b": task("b", "a")})


@given(st.integers(0, 12), st.data())
def test_the_order_follows_the_inputs_and_is_the_same_every_time(count: int, data: st.DataObject) -> None:
    names = [f"t{n}" for n in range(count)]
    tasks = {}
    for n, name in enumerate(names):
        before = data.draw(st.sets(st.sampled_from(names[:n]))) if n else set()
        tasks[name] = task(name, *sorted(before))
        after = data.draw(st.sets(st.sampled_from(names[:n]))) if n else set()
        tasks[name]["dependentTasks"] = sorted(after)
    order = task_order(tasks)
    assert sorted(order) == sorted(names)
    for name in names:
        entries = tasks[name]["inputs"]["artifacts"].values()
        needed = {one["taskOutputArtifact"]["producerTask"] for one in entries} | set(tasks[name]["dependentTasks"])
        assert all(order.index(one) < order.index(name) for one in needed)
    shuffled = data.draw(st.permutations(names))
    assert task_order({name: tasks[name] for name in shuffled}) == order
