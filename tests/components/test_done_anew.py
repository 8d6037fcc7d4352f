"""A forced component forgets what it remembers of earlier executions and does its work anew."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.done_anew import done_anew
from components.trainer.checkpoint import FILE, forget_trainings, trainings

ROWS = [{"number": i % 7, "text": "ab"[i % 2]} for i in range(40)]


def context(*, cache: bool) -> Any:
    """Returns an executor's context, of a node with its cache on or off."""
    from tfx.dsl.components.base.base_executor import BaseExecutor
    from tfx.proto.orchestration import pipeline_pb2

    node = pipeline_pb2.PipelineNode()
    node.execution_options.caching_options.enable_cache = cache
    return BaseExecutor.Context(pipeline_node=node)


def test_it_is_the_node_whose_cache_is_off() -> None:
    assert done_anew(context(cache=False))
    assert not done_anew(context(cache=True))
    assert not done_anew(None), "called without a context"
    assert not done_anew(SimpleNamespace(pipeline_node=None)), "a step of a compiled pipeline"


def test_the_tuner_searches_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfx.types import standard_artifacts
    from tfx.utils import json_utils

    from components.tuner import executor

    (tmp_path / "schema.pbtxt").write_text("")
    fn_args = SimpleNamespace(schema_path=str(tmp_path / "schema.pbtxt"), transform_graph_path="t", custom_config={})
    monkeypatch.setattr(executor.fn_args_utils, "get_common_fn_args", lambda *args: fn_args)
    searches: list[bool] = []

    def search(self: Any, fn_args: Any, folder: Path) -> dict[str, Any]:
        searches.append((folder / "trials").exists())
        (folder / "trials").mkdir(parents=True)
        return {"hyperparameters": {}, "trials": [], "text": f"search {len(searches)}"}

    monkeypatch.setattr(executor.Executor, "_search", search)
    custom = {"config": {"tuner": {"when": "config_changes"}}, "code_digest": "c", "state_dir": str(tmp_path)}

    def found(*, cache: bool) -> str:
        outputs: dict[str, list[Any]] = {}
        for key, kind in (
            ("best_hyperparameters", standard_artifacts.HyperParameters),
            ("tuner_results", standard_artifacts.TunerResults),
        ):
            outputs[key] = [kind()]
            outputs[key][0].uri = str(tmp_path / "out" / key)
        executor.Executor(context(cache=cache)).Do({}, outputs, {"custom_config": json_utils.dumps(custom)})
        text = (tmp_path / "out" / "tuner_results" / executor.SEARCH_FILE).read_text()
        return str(json.loads(text)["text"])

    assert found(cache=True) == "search 1"
    assert found(cache=True) == "search 1, reused"
    # What a killed search left is no part of it either.
    (folder,) = (tmp_path / "work" / "tuner").iterdir()
    (folder / "trials").mkdir()
    assert found(cache=False) == "search 2"
    assert found(cache=True) == "search 2, reused"
    assert searches == [False, False]


def test_statistics_are_computed_again(write_spans: Any, checks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.span_statistics_gen import executor

    jobs: list[str] = []
    run = executor.SplitJob.run

    def counted(job: executor.SplitJob) -> None:
        jobs.append(job.target)
        run(job)

    monkeypatch.setattr(executor.SplitJob, "run", counted)
    examples = write_spans({"2013Q1": {"train": ROWS}})
    checks.statistics(examples, "first")
    checks.statistics(examples, "second")
    assert len(jobs) == 1
    monkeypatch.setattr(executor, "done_anew", lambda context: True)
    checks.statistics(examples, "third")
    assert len(jobs) == 2
    monkeypatch.setattr(executor, "done_anew", lambda context: False)
    checks.statistics(examples, "fourth")
    assert len(jobs) == 2, "what was computed again is kept again"


def test_spans_are_read_again(tmp_path: Path) -> None:
    from components.span_example_gen.ingest import IngestRequest, ingest
    from components.span_example_gen.store import SpanStore
    from data.window import resolve_window
    from schema.ingest import ExamplesConfig, Label

    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(50)))
    config = ExamplesConfig(input="t.csv")
    request = IngestRequest(
        window=resolve_window(config, tmp_path),
        examples=config,
        label=Label(name="y"),
        column_types={},
        code_digest="code",
        state_dir=str(tmp_path / "state"),
    )
    names: list[str] = []

    def run_all(function: Any, jobs: Any, input_bytes: int) -> None:
        for job in jobs:
            names.append(function.__name__)
            function(job)

    (first,) = ingest(request, run_all).sidecars
    assert names == ["stage", "encode_span"]
    ingest(request, run_all)
    assert len(names) == 2
    entry = SpanStore(request.state_dir).entry(first["ingest_key"])
    record = next(entry.glob("Split-train/*"))
    good = record.read_bytes()
    record.write_bytes(b"damaged")
    (again,) = ingest(request, run_all, anew=True).sidecars
    assert names[2:] == ["stage", "encode_span"]
    assert again == first and record.read_bytes() == good


def test_a_training_starts_from_the_beginning(tmp_path: Path) -> None:
    folder = Path(trainings(str(tmp_path))) / "key"
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"")
    forget_trainings(tmp_path)
    assert not folder.exists()
    forget_trainings(tmp_path)
