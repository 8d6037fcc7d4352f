"""ML Metadata as far as garbage goes: what a line's lineage is, and what became of its artifacts."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pipeline.garbage.lineage import Artifact, ArtifactState, Execution, Lineage
from pipeline.state import State
from schema.errors import MetadataError
from schema.release import MetadataConfig

_AT_A_TIME = 500


def open_store(config: MetadataConfig, state: State, secrets: Mapping[str, str], where: str) -> Any | None:
    """Opens ML Metadata's store of a line; None when it is a file that is not there.

    Args:
        config: the line's `metadata` section.
        state: the line's state.
        secrets: dotted config key to secret.
        where: the file or files that the section was read from.

    Raises:
        MetadataError: it cannot be opened.
    """
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

    if config.backend == "mysql":
        from pipeline.graph import metadata_connection_config
        from pipeline.metadata_server import check_metadata_server

        connection = metadata_connection_config(config, state, secrets)
        check_metadata_server(connection, where)
    elif state.metadata_db.is_file():
        # TFX's way to say the same imports TensorFlow.
        connection = metadata_store_pb2.ConnectionConfig()
        connection.sqlite.filename_uri = str(state.metadata_db)
        connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
    else:
        return None
    with _told(str(state.metadata_db)):
        return MetadataStore(connection)


def read_lineage(store: Any, line: str, run_ids: Iterable[str]) -> Lineage:
    """Returns what the store says of a line; nothing when the line never ran with it.

    Args:
        store: ML Metadata's store, which other lines may share.
        line: the line's name, which is its pipeline's.
        run_ids: the runs whose executions are wanted.

    Raises:
        MetadataError: the store cannot be read.
    """
    from ml_metadata.proto import metadata_store_pb2

    event_types = metadata_store_pb2.Event
    ends = {event_types.INPUT: "inputs", event_types.OUTPUT: "outputs", event_types.DECLARED_OUTPUT: "outputs"}
    with _told("ML Metadata"):
        context = store.get_context_by_type_and_name("pipeline", line)
        if context is None:
            return Lineage()
        executions = {execution.id: execution for execution in store.get_executions_by_context(context.id)}
        inputs: dict[int, list[tuple[str, int]]] = defaultdict(list)
        outputs: dict[int, list[int]] = defaultdict(list)
        for some in _some(sorted(executions)):
            for event in store.get_events_by_execution_ids(some):
                end = ends.get(event.type)
                if end == "inputs":
                    key = next((step.key for step in event.path.steps if step.key), "")
                    inputs[event.execution_id].append((key, event.artifact_id))
                elif end == "outputs":
                    outputs[event.execution_id].append(event.artifact_id)
        types = {kind.id: kind.name for kind in store.get_artifact_types()}
        artifacts = [_artifact(proto, types) for proto in store.get_artifacts_by_context(context.id)]
        runs = {}
        for run_id in sorted(set(run_ids)):
            run = store.get_context_by_type_and_name("pipeline_run", run_id)
            made = store.get_executions_by_context(run.id) if run is not None else []
            runs[run_id] = tuple(sorted({execution.id for execution in made} & executions.keys()))
    return Lineage(
        artifacts={artifact.id: artifact for artifact in artifacts},
        executions={
            number: Execution(
                number,
                execution.create_time_since_epoch / 1000,
                tuple(inputs[number]),
                tuple(outputs[number]),
            )
            for number, execution in executions.items()
        },
        runs=runs,
    )


def set_state(store: Any, artifacts: Sequence[int], state: Literal["LIVE", "MARKED_FOR_DELETION", "DELETED"]) -> None:
    """Sets the state of artifacts. TFX answers from its cache with live ones only.

    Raises:
        MetadataError: the store cannot be written.
    """
    from ml_metadata.proto import metadata_store_pb2

    value = metadata_store_pb2.Artifact.State.Value(state)
    with _told("ML Metadata"):
        for some in _some(artifacts):
            protos = store.get_artifacts_by_id(some)
            for proto in protos:
                proto.state = value
            store.put_artifacts(protos)


def _artifact(proto: Any, types: Mapping[int, str]) -> Artifact:
    from ml_metadata.proto import metadata_store_pb2

    states: dict[int, ArtifactState] = {
        metadata_store_pb2.Artifact.PENDING: "unfinished",
        metadata_store_pb2.Artifact.ABANDONED: "unfinished",
        metadata_store_pb2.Artifact.MARKED_FOR_DELETION: "marked",
        metadata_store_pb2.Artifact.DELETED: "deleted",
    }
    key = proto.custom_properties["ingest_key"].string_value if "ingest_key" in proto.custom_properties else ""
    return Artifact(proto.id, proto.uri, types.get(proto.type_id, "?"), states.get(proto.state, "live"), key or None)


def _some(items: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(items)
    while some := list(itertools.islice(rest, _AT_A_TIME)):
        yield some


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    from ml_metadata.errors import StatusError

    try:
        yield
    except (RuntimeError, StatusError) as error:
        raise MetadataError(
            f"{where} must be a store that ML Metadata can use. Got an error instead: {error}",
            hint="nothing more is removed until it can be used; restore it from a backup",
        ) from None
