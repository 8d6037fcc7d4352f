"""What is read of a line's executions in ML Metadata, from a store that is written as TFX writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.executions import read_histories
from pipeline.graph import metadata_connection_config
from pipeline.state import State
from schema.errors import MetadataError
from schema.release import MetadataConfig


class Written:
    """A store with a pipeline, whose executions are added one by one."""

    def __init__(self, connection: Any) -> None:
        self.store = MetadataStore(connection)
        self.contexts: dict[tuple[str, str], int] = {}
        self.type = self.store.put_execution_type(proto.ExecutionType(name="Component"))
        self.artifact_type = self.store.put_artifact_type(proto.ArtifactType(name="Thing"))

    def context(self, kind: str, name: str) -> proto.Context:
        type_id = self.store.put_context_type(proto.ContextType(name=kind))
        if (kind, name) not in self.contexts:
            context = proto.Context(type_id=type_id, name=name)
            (self.contexts[kind, name],) = self.store.put_contexts([context])
        return proto.Context(id=self.contexts[kind, name], type_id=type_id, name=name)

    def artifact(self, uri: Path, **properties: str) -> int:
        artifact = proto.Artifact(type_id=self.artifact_type, uri=str(uri), state=proto.Artifact.LIVE)
        for key, value in properties.items():
            artifact.custom_properties[key].string_value = value
        (key,) = self.store.put_artifacts([artifact])
        return int(key)

    def execution(
        self,
        line: str,
        run: str,
        node: str,
        *,
        inputs: tuple[int, ...] = (),
        outputs: tuple[int, ...] = (),
        state: Any = proto.Execution.COMPLETE,
        **properties: str,
    ) -> int:
        execution = proto.Execution(type_id=self.type, last_known_state=state)
        for key, value in properties.items():
            execution.custom_properties[key].string_value = value
        (number,) = self.store.put_executions([execution])
        pipeline, of_run = self.context("pipeline", line), self.context("pipeline_run", run)
        known = {child.id for child in self.store.get_children_contexts_by_context(pipeline.id)}
        if of_run.id not in known:
            self.store.put_parent_contexts([proto.ParentContext(child_id=of_run.id, parent_id=pipeline.id)])
        contexts = (pipeline, of_run, self.context("node", f"{line}.{node}"))
        self.store.put_attributions_and_associations(
            [], [proto.Association(execution_id=number, context_id=context.id) for context in contexts]
        )
        events = []
        for kind, artifacts in ((proto.Event.INPUT, inputs), (proto.Event.OUTPUT, outputs)):
            for index, artifact in enumerate(artifacts):
                event = proto.Event(execution_id=number, artifact_id=artifact, type=kind)
                event.path.steps.add().key = "examples"
                event.path.steps.add().index = index
                events.append(event)
        self.store.put_events(events)
        return int(number)


@pytest.fixture
def connection(tmp_path: Path) -> Any:
    return metadata_connection_config(MetadataConfig(), State(tmp_path, "toy"), {})


def test_histories(connection: Any, tmp_path: Path) -> None:
    written = Written(connection)
    first = [written.artifact(tmp_path, label=label, fingerprint=label * 2) for label in "ab"]
    written.execution("toy", "r1", "Gen", outputs=tuple(first), config="{}")
    written.execution("toy", "r1", "Trainer", inputs=tuple(first), outputs=(written.artifact(tmp_path),), config="1")
    written.execution("toy", "r2", "Trainer", inputs=tuple(first), state=proto.Execution.FAILED, config="2")
    gone = written.artifact(tmp_path / "gone")
    written.execution("toy", "r2", "Trainer", inputs=tuple(reversed(first)), outputs=(gone,), config="3")
    written.execution("toy", "r3", "Trainer", outputs=(gone,), state=proto.Execution.CACHED)
    written.execution("other", "r4", "Trainer", config="4")
    now = written.execution("toy", "r5", "Trainer", inputs=tuple(first), config="5")
    written.execution("toy", "r6", "Trainer", config="6")

    histories = read_histories(connection, "toy", "r5")
    assert set(histories) == {"Trainer"}
    history = histories["Trainer"]
    assert history.current.id == now and history.current.properties == {"config": "5"}
    assert [(one.run_id, one.properties["config"]) for one in history.earlier] == [("r1", "1"), ("r2", "3")]
    assert [artifact.span for artifact in history.current.inputs["examples"]] == ["a", "b"]
    assert [artifact.span for artifact in history.earlier[1].inputs["examples"]] == ["b", "a"]
    made = history.current.inputs["examples"][0]
    assert (made.producer, made.run_id, made.properties["fingerprint"]) == ("Gen", "r1", "aa")
    assert [one.outputs_exist for one in history.earlier] == [True, False]


def test_a_line_or_run_that_is_not_there_has_none(connection: Any) -> None:
    assert read_histories(connection, "toy", "r1") == {}
    Written(connection).execution("toy", "r1", "Trainer", config="1")
    assert read_histories(connection, "toy", "r2") == {}


def test_a_store_that_cannot_be_read_is_an_error_in_words(tmp_path: Path, connection: Any) -> None:
    (tmp_path / "metadata.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(MetadataError, match="ML Metadata of line toy"):
        read_histories(connection, "toy", "r1")
