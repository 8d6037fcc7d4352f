"""The DAG of a line, the same for every runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.inputs import RunInputs
from pipeline.state import State
from schema.line import Line
from schema.release import MetadataConfig


def create_pipeline(
    line: Line,
    inputs: RunInputs,
    state: State,
    *,
    beam_args: list[str] | None = None,
    secrets: Mapping[str, str] | None = None,
    resolvers: bool = True,
) -> Any:
    """Returns the TFX pipeline of a line. Does no I/O.

    Args:
        line: the line config.
        inputs: the window, the schema's identity and the code digests, resolved before.
        state: where artifacts and ML Metadata are kept.
        beam_args: options for the components that use Beam.
        secrets: dotted config key to secret.
        resolvers: whether the engine runs resolver strategies of ours; otherwise components do their work.
    """
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.stages.ingest import ingest_stage
    from pipeline.stages.release import release_stage
    from pipeline.stages.training import training_stage

    ingest = ingest_stage(line, inputs, state)
    training = training_stage(line, inputs, state, ingest)
    release = release_stage(line, inputs, state, ingest, training, resolvers=resolvers)
    return Pipeline(
        pipeline_name=line.name,
        pipeline_root=str(state.pipeline_root),
        components=[*ingest.nodes, *training.nodes, *release.nodes],
        enable_cache=True,
        metadata_connection_config=metadata_connection_config(line.metadata, state, secrets or {}),
        beam_pipeline_args=list(beam_args or []),
    )


def metadata_connection_config(config: MetadataConfig, state: State, secrets: Mapping[str, str]) -> Any:
    """Returns how to reach ML Metadata (a ConnectionConfig proto). Imports neither TFX nor TensorFlow."""
    from ml_metadata.proto import metadata_store_pb2

    if config.backend == "mysql":
        server = metadata_store_pb2.MySQLDatabaseConfig(
            # By the name localhost the client takes no port: it looks for a socket file where its builder had one.
            host="127.0.0.1" if config.host == "localhost" else config.host,
            port=config.port,
            database=config.database,
            user=config.user,
            password=secrets.get("metadata.password", ""),
        )
        return metadata_store_pb2.ConnectionConfig(mysql=server)
    sqlite = metadata_store_pb2.SqliteMetadataSourceConfig(
        filename_uri=str(state.metadata_db),
        connection_mode=metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE,
    )
    return metadata_store_pb2.ConnectionConfig(sqlite=sqlite)
