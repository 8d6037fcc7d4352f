from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.baseline.restore import restore
from components.baseline.strategy import ServedModelStrategy
from components.pusher.component import ReleasePusher
from schema.errors import ReleaseError
from schema.release import PusherConfig
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.model_digest import model_digest
from serving.releases import rollback


def write_model(folder: Path, content: str) -> None:
    """Writes a SavedModel without variables whose digest follows from `content`."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.meta_graphs.add().meta_info_def.tags.append(content)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())


class TinyTrainerExecutor(base_executor.BaseExecutor):
    """Writes a model that says `content`."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        model = artifact_utils.get_single_instance(output_dict["model"])
        write_model(Path(model.uri) / "Format-Serving", exec_properties["content"])


class TinyTrainerSpec(ComponentSpec):
    PARAMETERS = {"content": ExecutionParameter(type=str), "salt": ExecutionParameter(type=str)}
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}


class TinyTrainer(base_component.BaseComponent):
    SPEC_CLASS = TinyTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TinyTrainerExecutor)

    def __init__(self, content: str, salt: str) -> None:
        super().__init__(TinyTrainerSpec(content=content, salt=salt, model=Channel(type=standard_artifacts.Model)))


class TinyJudgeExecutor(base_executor.BaseExecutor):
    """Blesses, and notes what the baseline was."""

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        baselines = input_dict.get("baseline_model") or []
        blessing.set_string_custom_property("baseline", ",".join(artifact.uri for artifact in baselines))
        blessing.set_int_custom_property("blessed", 1)


class TinyJudgeSpec(ComponentSpec):
    PARAMETERS: dict[str, Any] = {}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.ModelBlessing)}


class TinyJudge(base_component.BaseComponent):
    SPEC_CLASS = TinyJudgeSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TinyJudgeExecutor)

    def __init__(self, model: Any, baseline_model: Any) -> None:
        blessing = Channel(type=standard_artifacts.ModelBlessing)
        super().__init__(TinyJudgeSpec(model=model, baseline_model=baseline_model, blessing=blessing))


class Line:
    """A line of a tiny trainer, the resolver, a tiny judge and the real Pusher."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "releases.jsonl")
        self.base = folder / "serving_model"

    def run(self, content: str, salt: str = "") -> dict[str, Any]:
        """Runs the line; returns the baseline's content, the nodes that were executed, and `pushed.json`."""
        from ml_metadata.proto import metadata_store_pb2
        from tfx.dsl.components.common.resolver import Resolver
        from tfx.orchestration import metadata, pipeline
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner

        trainer = TinyTrainer(content, salt)
        resolver = Resolver(
            strategy_class=ServedModelStrategy,
            config={"ledger": str(self.ledger.path)},
            model=Channel(type=standard_artifacts.Model),
            candidate=trainer.outputs["model"],
        ).with_id("baseline")
        judge = TinyJudge(trainer.outputs["model"], resolver.outputs["model"])
        pusher = ReleasePusher(
            model=trainer.outputs["model"],
            model_blessing=judge.outputs["blessing"],
            config=json.dumps({"name": "mine", "pusher": PusherConfig().model_dump(mode="json")}),
            push_destination=str(self.base),
            ledger=str(self.ledger.path),
            code_digest="",
        )
        connection = metadata.sqlite_metadata_connection_config(str(self.folder / "metadata.sqlite"))
        with metadata.Metadata(connection) as handle:
            before = len(handle.store.get_executions())
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="tiny",
                pipeline_root=str(self.folder / "root"),
                components=[trainer, resolver, judge, pusher],
                metadata_connection_config=connection,
                enable_cache=True,
            )
        )
        with metadata.Metadata(connection) as handle:
            new = handle.store.get_executions()[before:]
            complete = metadata_store_pb2.Execution.COMPLETE
            failed = metadata_store_pb2.Execution.FAILED
            types = {kind.id: kind.name.rsplit(".", 1)[-1] for kind in handle.store.get_execution_types()}
            assert not [types[execution.type_id] for execution in new if execution.last_known_state == failed]
            executed = [types[execution.type_id] for execution in new if execution.last_known_state == complete]
            # A Resolver resolves in every run; TFX never takes it from the cache.
            found: dict[str, Any] = {"executed": [name for name in executed if name != "Resolver"]}
            ids = [execution.id for execution in new]
            artifacts = handle.store.get_artifacts_by_id(
                [
                    event.artifact_id
                    for event in handle.store.get_events_by_execution_ids(ids)
                    if event.type == metadata_store_pb2.Event.OUTPUT
                ]
            )
        properties = [artifact.custom_properties for artifact in artifacts]
        baseline = next(each["baseline"].string_value for each in properties if "baseline" in each)
        found["baseline"] = self.content(Path(baseline)) if baseline else None
        found["outcome"] = next(each["outcome"].string_value for each in properties if "outcome" in each)
        return found

    def content(self, model: Path) -> str:
        from tensorflow.core.protobuf import saved_model_pb2

        content = (model / "Format-Serving" / "saved_model.pb").read_bytes()
        return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].meta_info_def.tags[0]


def test_the_baseline_is_what_is_served_and_an_unchanged_run_is_cached(tmp_path: Path) -> None:
    line = Line(tmp_path)
    everything = ["TinyTrainer", "TinyJudge", "ReleasePusher"]
    assert line.run("a") == {"executed": everything, "baseline": None, "outcome": "pushed"}
    assert line.run("a") == {"executed": [], "baseline": None, "outcome": "pushed"}
    assert line.run("b") == {"executed": everything, "baseline": "a", "outcome": "pushed"}
    assert line.run("b") == {"executed": [], "baseline": "a", "outcome": "pushed"}
    assert line.ledger.state().live == 2

    rollback(line.ledger, line.base)
    assert line.run("b")["executed"] == [], "the withdrawn model is not pushed again by a run in which nothing changed"
    assert line.ledger.state().live == 1
    assert line.run("c") == {"executed": everything, "baseline": "a", "outcome": "pushed"}
    assert line.run("a") == {"executed": ["TinyJudge", "ReleasePusher"], "baseline": "c", "outcome": "pushed"}
    assert line.ledger.state().live == 4


def test_the_same_model_trained_again_is_not_its_own_baseline(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.run("a")
    line.run("b")
    again = line.run("b", salt="the code changed and the model did not")
    assert again == {
        "executed": ["TinyTrainer", "TinyJudge", "ReleasePusher"],
        "baseline": "a",
        "outcome": "already live",
    }


def test_without_ml_metadata_the_served_version_is_the_baseline_and_the_next_run_is_cached(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.run("a")
    line.run("b")
    (tmp_path / "metadata.sqlite").unlink()
    shutil.rmtree(tmp_path / "root")
    first = line.run("c")
    assert (first["baseline"], first["outcome"]) == ("b", "pushed")
    assert line.run("c") == {"executed": [], "baseline": "b", "outcome": "pushed"}
    assert line.run("d")["baseline"] == "c"


def test_a_served_version_that_was_changed_is_no_baseline(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.run("a")
    shutil.rmtree(tmp_path / "root" / "TinyTrainer")
    shutil.rmtree(line.base / "1")
    write_model(line.base / "1", "tampered")
    with pytest.raises(ReleaseError, match="Got another model there instead"):
        restore(line.ledger.state().entries[1].pushed, tmp_path / "work")


def resolve(ledger: Ledger, candidate: str, models: list[str]) -> list[str]:
    """Asks the strategy; URIs stand for artifacts."""
    artifacts = [SimpleNamespace(uri=uri, id=number) for number, uri in enumerate(models)]
    inputs = {"model": artifacts, "candidate": [SimpleNamespace(uri=candidate, id=99)]}
    found = ServedModelStrategy(str(ledger.path)).resolve_artifacts(None, inputs)
    assert found["candidate"] is inputs["candidate"]
    return [artifact.uri for artifact in found["model"]]


@pytest.fixture
def released(tmp_path: Path) -> Ledger:
    """Models a, b and c, released in this order."""
    ledger = Ledger(tmp_path / "releases.jsonl")
    for version, name in enumerate("abc", start=1):
        write_model(tmp_path / name / "Format-Serving", name)
        ledger.append(
            LedgerEvent(
                event="pushed",
                version=version,
                run_id="r",
                model_digest=model_digest(tmp_path / name / "Format-Serving"),
                who="ada",
                when="now",
                model_uri=str(tmp_path / name),
            )
        )
    return ledger


def test_the_live_model_is_compared_with_what_was_live_before_it(released: Ledger, tmp_path: Path) -> None:
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert resolve(released, c, [a, b, c]) == [b]
    assert resolve(released, b, [a, b, c]) == [c]
    released.append(LedgerEvent(event="rollback", version=1, who="ada", when="now"))
    assert resolve(released, b, [a, b, c]) == [a]
    assert resolve(released, a, [a, b, c]) == []


def test_a_baseline_that_is_gone_altogether_is_an_error_and_not_a_free_pass(released: Ledger, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(ReleaseError, match="version 3 must be there to be the baseline.*Got neither"):
        resolve(released, str(tmp_path / "a"), [str(tmp_path / name) for name in "abc"])


def test_an_empty_ledger_gives_no_baseline(tmp_path: Path) -> None:
    assert resolve(Ledger(tmp_path / "none"), "candidate", ["other"]) == []


def test_another_model_under_the_live_models_uri_is_not_taken_for_it(tmp_path: Path) -> None:
    served, uri = tmp_path / "base" / "1", str(tmp_path / "model")
    write_model(served, "released")
    write_model(Path(uri) / "Format-Serving", "trained after ML Metadata was lost, when URIs start over")
    ledger = Ledger(tmp_path / "releases.jsonl")
    values = {"run_id": "r", "model_digest": model_digest(served), "model_uri": uri, "path": str(served)}
    ledger.append(LedgerEvent(event="pushed", version=1, who="ada", when="now", **values))
    (found,) = resolve(ledger, uri, [uri])
    assert model_digest(Path(found) / "Format-Serving") == model_digest(served)
