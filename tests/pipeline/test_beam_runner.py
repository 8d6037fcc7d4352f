"""An engine that cannot be used is told in one line, before a run starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2_grpc
from apache_beam.runners.portability.local_job_service import LocalJobServicer

from conveyor import cli
from pipeline.beam_runner import check_runner
from schema.beam import BeamConfig
from schema.errors import RunnerError
from schema.line import Line
from tests.e2e.line_runs import Workplace


@pytest.fixture(scope="module")
def job_server() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(LocalJobServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def other_server() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def closed() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def beam(endpoint: str, pool: str, **over: Any) -> BeamConfig:
    given = {"job_endpoint": endpoint, "environment_type": "EXTERNAL", "environment_config": pool}
    return BeamConfig.model_validate({"runner": "PortableRunner", **given, **over})


def checked(config: BeamConfig, state: str = "/gcs/bucket/taxi", **over: Any) -> None:
    line = {
        "name": "taxi",
        "task": "regression",
        "label": {"name": "fare"},
        "examples": {"input": "/gcs/bucket/trips.csv"},
        "beam": config,
        **over,
    }
    check_runner(Line.model_validate(line), {"CONVEYOR_HOME": state, "--output": Path("/gcs/b/out")}, "line.yaml")


def refused(config: BeamConfig, state: str = "/gcs/bucket/taxi", **over: Any) -> RunnerError:
    with pytest.raises(RunnerError) as raised:
        checked(config, state, **over)
    assert "\n" not in raised.value.args[0] and raised.value.hint and raised.value.exit_code == 1
    return raised.value


def test_a_job_server_with_a_pool_passes(job_server: str, other_server: str) -> None:
    checked(beam(job_server, other_server))


def test_a_pool_elsewhere_is_the_engines_affair(job_server: str) -> None:
    checked(beam(job_server, "workers.invalid:50000"))


def test_this_machine_needs_nothing() -> None:
    checked(BeamConfig())


def test_no_job_server(closed: str, other_server: str) -> None:
    said = str(refused(beam(closed, other_server)))
    assert said.startswith(
        f"line.yaml: beam.job_endpoint must name a Beam job server that answers, for PortableRunner. Got {closed}"
    )
    assert "Connection refused" in said


def test_something_else_at_its_port(other_server: str) -> None:
    assert "UNIMPLEMENTED" in str(refused(beam(other_server, other_server)))


def test_no_worker_pool(job_server: str, closed: str) -> None:
    said = str(refused(beam(job_server, closed)))
    assert f"beam.environment_config must name a Beam worker pool that listens. Got {closed}" in said
    assert "worker_pool_main" in said


@pytest.mark.parametrize(
    ("runner", "section"),
    [("FlinkRunner", {"flink": {"flink_master": "m:1"}}), ("SparkRunner", {"spark": {"spark_master_url": "s"}})],
)
def test_a_job_server_archive_is_a_file_and_java_is_there(
    runner: str, section: dict[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((name, keys),) = section.items()
    keys["job_server_jar"] = str(tmp_path / "j.jar")
    config = BeamConfig.model_validate({"runner": runner, "environment_type": "LOOPBACK", **section})
    assert f"beam.{name}.job_server_jar must be a file. Got" in str(refused(config))
    (tmp_path / "j.jar").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"java must be on the PATH to start beam.{name}.job_server_jar" in str(refused(config))


DATAFLOW = BeamConfig.model_validate(
    {
        "runner": "DataflowRunner",
        "dataflow": {"project": "p", "region": "europe-west4", "temp_location": "gs://b/t"},
    }
)


def test_dataflow_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    said = str(refused(DATAFLOW))
    assert "beam.runner DataflowRunner must have Google Cloud credentials" in said and "gcloud auth" in said


def test_dataflow_needs_its_files_in_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    said = str(refused(DATAFLOW, "/home/me/taxi"))
    assert "CONVEYOR_HOME must be below /gcs/BUCKET for DataflowRunner" in said and "Got '/home/me/taxi'" in said
    said = str(refused(DATAFLOW, transform={"preprocessing_fn": "my.module.fn"}))
    assert "transform.preprocessing_fn must not be set for DataflowRunner" in said
    monkeypatch.setenv("CONVEYOR_GCS_MOUNT", "/mnt")
    assert "CONVEYOR_HOME must be below /mnt/BUCKET" in str(refused(DATAFLOW))


def test_a_run_ends_with_the_line_and_exit_code_1(
    closed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "state"))
    section = beam(closed, "127.0.0.1:1").model_dump(exclude_unset=True)
    line = Workplace(tmp_path).shipped("taxi", beam=section).folder
    assert cli.main(["run", str(line)]) == 1
    told = capsys.readouterr()
    text = "".join((told.out + told.err).split())
    assert "beam.job_endpointmustnameaBeamjobserver" in text and "Traceback" not in text
