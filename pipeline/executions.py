"""The executions of a line in ML Metadata, as data. Imports ml_metadata when it reads, never TFX or TensorFlow."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.explanation import InputArtifact, PastExecution
from schema.errors import MetadataError

_CHUNK = 200


@dataclasses.dataclass(frozen=True)
class History:
    """The executions of one component.

    Attributes:
        current: that of the run in question.
        earlier: those that came before it and ended well, oldest first.
    """

    current: PastExecution
    earlier: tuple[PastExecution, ...]


def read_histories(connection: Any, line: str, run_id: str) -> dict[str, History]:
    """Returns component to its executions, for each component that a run has executed or found in the cache.

    Args:
        connection: ML Metadata's ConnectionConfig.
        line: the line's name, which is the pipeline's.
        run_id: the run.

    Raises:
        MetadataError: ML Metadata cannot be read.
    """
    from ml_metadata import errors
    from ml_metadata.metadata_store import MetadataStore

    try:
        return _Reader(MetadataStore(connection), line).histories(run_id)
    except (errors.StatusError, RuntimeError) as error:
        # Opening a file that is no database is a RuntimeError.
        raise MetadataError(
            f"ML Metadata of line {line} must be there to be asked. Got {type(error).__name__} instead",
            hint="the next `conveyor run` says what is wrong with it",
        ) from None


class _Reader:
    def __init__(self, store: Any, line: str) -> None:
        from ml_metadata.proto import metadata_store_pb2

        self._proto = metadata_store_pb2
        self._store = store
        self._line = line
        self._executions: dict[int, Any] = {}
        self._run_of: dict[int, str] = {}
        self._node_of: dict[int, str] = {}
        self._events: dict[int, list[Any]] = defaultdict(list)
        self._maker: dict[int, int] = {}
        self._artifacts: dict[int, Any] = {}

    def histories(self, run_id: str) -> dict[str, History]:
        self._read_executions()
        found = {}
        for current in sorted(key for key, run in self._run_of.items() if run == run_id and key in self._node_of):
            node = self._node_of[current]
            earlier = [key for key, name in self._node_of.items() if name == node and self._counts(key, current)]
            found[node] = current, sorted(earlier)
        self._read_events()
        self._read_artifacts()
        return {
            node: History(self._execution(current), tuple(self._execution(key) for key in earlier))
            for node, (current, earlier) in found.items()
        }

    def _counts(self, key: int, current: int) -> bool:
        state = self._proto.Execution
        execution = self._executions[key]
        # What a partial run took over has neither inputs nor properties of its own.
        return (
            key < current
            and execution.last_known_state in (state.COMPLETE, state.CACHED)
            and len(execution.custom_properties) > 0
        )

    def _read_executions(self) -> None:
        pipeline = self._store.get_context_by_type_and_name("pipeline", self._line)
        if pipeline is None:
            return
        kinds = {kind.id: kind.name for kind in self._store.get_context_types()}
        for context in self._store.get_children_contexts_by_context(pipeline.id):
            if kinds.get(context.type_id) != "pipeline_run":
                continue
            for execution in self._store.get_executions_by_context(context.id):
                self._executions[execution.id] = execution
                self._run_of[execution.id] = context.name
        for context in self._store.get_contexts_by_type("node"):
            line, _, node = context.name.partition(".")
            if line != self._line:
                continue
            for execution in self._store.get_executions_by_context(context.id):
                if execution.id in self._executions:
                    self._node_of[execution.id] = node

    def _read_events(self) -> None:
        output = (self._proto.Event.OUTPUT, self._proto.Event.INTERNAL_OUTPUT)
        keys = sorted(self._executions)
        for start in range(0, len(keys), _CHUNK):
            for event in self._store.get_events_by_execution_ids(keys[start : start + _CHUNK]):
                self._events[event.execution_id].append(event)
                if event.type in output:
                    maker = self._maker.get(event.artifact_id, event.execution_id)
                    self._maker[event.artifact_id] = min(maker, event.execution_id)

    def _read_artifacts(self) -> None:
        keys = sorted({event.artifact_id for events in self._events.values() for event in events})
        for start in range(0, len(keys), _CHUNK):
            for artifact in self._store.get_artifacts_by_id(keys[start : start + _CHUNK]):
                self._artifacts[artifact.id] = artifact

    def _execution(self, key: int) -> PastExecution:
        event_type = self._proto.Event
        inputs: dict[str, list[tuple[int, InputArtifact]]] = defaultdict(list)
        there = True
        for event in self._events[key]:
            artifact = self._artifacts.get(event.artifact_id)
            if event.type in (event_type.INPUT, event_type.INTERNAL_INPUT):
                name, index = _path(event)
                inputs[name].append((index, self._input(event.artifact_id, artifact)))
            elif event.type in (event_type.OUTPUT, event_type.INTERNAL_OUTPUT):
                there = there and artifact is not None and self._exists(artifact)
        return PastExecution(
            id=key,
            run_id=self._run_of[key],
            inputs={
                name: tuple(artifact for _, artifact in sorted(pairs, key=lambda pair: pair[0]))
                for name, pairs in inputs.items()
            },
            properties=_values(self._executions[key].custom_properties),
            outputs_exist=there,
        )

    def _input(self, key: int, artifact: Any) -> InputArtifact:
        maker = self._maker.get(key)
        properties = {} if artifact is None else {**_values(artifact.properties), **_values(artifact.custom_properties)}
        if maker is None:
            return InputArtifact(key, properties=properties)
        return InputArtifact(key, self._node_of.get(maker, ""), self._run_of.get(maker, ""), properties)

    def _exists(self, artifact: Any) -> bool:
        if artifact.state != self._proto.Artifact.LIVE:
            return False
        return urlsplit(artifact.uri).scheme not in ("", "file") or Path(artifact.uri).exists()


def _path(event: Any) -> tuple[str, int]:
    """Returns the input key of an event and the artifact's place among those of that key."""
    name, index = "", 0
    for step in event.path.steps:
        if step.WhichOneof("value") == "key":
            name = step.key
        elif step.WhichOneof("value") == "index":
            index = step.index
    return name, index


def _values(properties: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in properties.items():
        kind = value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            found[key] = getattr(value, kind)
    return found
