"""Says in one line why the engine for a line's Beam pipelines cannot be used, before a run starts.

Beam's own client cannot: it waits a minute for a job server that is not there, and a worker pool that is not there ends
the job a minute later with an error that names neither it nor the option.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from components.vertex_ai import CredentialsProblem, google_credentials
from data.mounts import as_uri, mount, mount_variable
from schema.beam import BeamConfig
from schema.errors import RunnerError
from schema.line import Line

TIMEOUT_SECONDS = 10.0
_THIS_HOST = ("localhost", "127.0.0.1", "[::1]")


def check_runner(line: Line, places: Mapping[str, object], where: str) -> None:
    """Returns when the line's runner can be handed a pipeline, as far as can be seen from here.

    Args:
        line: the line config.
        places: what workers read and write: config key, option or variable to path.
        where: the file or files that the config was read from.

    Raises:
        RunnerError: one line that names the key to mend.
    """
    config = line.beam
    try:
        if config.job_endpoint is not None and config.runner != "DirectRunner":
            _check_job_server(config.runner, config.job_endpoint)
            _check_pool(config, config.job_endpoint)
        elif config.runner == "FlinkRunner":
            _check_archive("flink", config.flink.job_server_jar)
        elif config.runner == "SparkRunner":
            _check_archive("spark", config.spark.job_server_jar)
        elif config.runner == "DataflowRunner":
            _check_dataflow(line, places)
            _check_credentials()
    except RunnerError as error:
        raise RunnerError(f"{where}: {error.args[0]}", hint=error.hint) from error.__cause__


def _check_job_server(runner: str, endpoint: str) -> None:
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    with grpc.insecure_channel(endpoint) as channel:
        jobs = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            jobs.DescribePipelineOptions(beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            told = f"{error.code().name}: {str(error.details()).splitlines()[0] if error.details() else 'no reason'}"
            raise RunnerError(
                f"beam.job_endpoint must name a Beam job server that answers, for {runner}. Got {endpoint} instead: "
                f"{told}",
                hint="start the job server, or mend beam.job_endpoint",
            ) from None


def _check_pool(config: BeamConfig, endpoint: str) -> None:
    """Looks for a worker pool on this host; one elsewhere need not be reachable but from the engine."""
    if config.environment_type != "EXTERNAL" or config.environment_config is None:
        return
    host, _, port = config.environment_config.rpartition(":")
    if host not in _THIS_HOST or endpoint.rpartition(":")[0] not in _THIS_HOST:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_SECONDS).close()
    except OSError as error:
        raise RunnerError(
            "beam.environment_config must name a Beam worker pool that listens. Got "
            f"{config.environment_config} instead: {error.strerror or error}",
            hint=f"python -m apache_beam.runners.worker.worker_pool_main --service_port={port}, where Conveyor is",
        ) from None


def _check_archive(section: str, path: str | None) -> None:
    if path is None or not Path(path).is_file():
        raise RunnerError(
            f"beam.{section}.job_server_jar must be a file. Got {path!r} instead",
            hint="download Beam's job server of the version of apache-beam, or set beam.job_endpoint to one that runs",
        )
    if shutil.which("java") is None:
        raise RunnerError(
            f"java must be on the PATH to start beam.{section}.job_server_jar. Got nothing instead",
            hint="install a Java runtime, or set beam.job_endpoint to a job server that runs",
        )


def _check_dataflow(line: Line, places: Mapping[str, object]) -> None:
    """Its workers mount nothing: files come to them from the bucket (`components.carried_files`)."""
    mounted = mount(os.environ)
    for name, path in places.items():
        if as_uri(str(path), {"gs": mounted}) is None:
            raise RunnerError(
                f"{name} must be below {mounted}/BUCKET for DataflowRunner: its workers have files from the bucket "
                f"only. Got {str(path)!r} instead",
                hint=f"mount the bucket (gcsfuse BUCKET {mounted}/BUCKET), or say where by {mount_variable('gs')}",
            )
    if line.transform.preprocessing_fn is not None:
        raise RunnerError(
            "transform.preprocessing_fn must not be set for DataflowRunner: TFT's analyzers leave files on workers. "
            f"Got {line.transform.preprocessing_fn!r} instead",
            hint="use the transforms that the line config has, or a runner whose workers share a file system",
        )


def _check_credentials() -> None:
    try:
        google_credentials()
    except CredentialsProblem as error:
        raise RunnerError(
            f"beam.runner DataflowRunner must have Google Cloud credentials. {error.args[0]}", hint=error.hint
        ) from None
