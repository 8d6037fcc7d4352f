"""A step in a Vertex custom job: the very command, run elsewhere; its failure, its end and a second try."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.compiled import custom_job as custom_jobs
from pipeline.compiled import handover
from pipeline.compiled.custom_job import custom_job
from pipeline.compiled.failures import ERROR_FILE
from tests.pipeline.compiled.fake_cloud import Cloud, cloud, in_a_process

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
# An executor as the image would have it: on the path of the job's process.
EXECUTOR = """
from tfx.dsl.components.base import base_executor
from schema.errors import DataRejected

class Counting(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        if exec_properties["count"] < 0:
            raise DataRejected("fewer than none", hint="count again")
        (one,) = output_dict["examples"]
        one.set_int_custom_property("count", exec_properties["count"])
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud() as server:
        server.let_in(monkeypatch, tmp_path)
        (tmp_path / "counting.py").write_text(EXECUTOR, encoding="utf-8")
        paths = f"{ROOT}{os.pathsep}{tmp_path}"
        env = {**os.environ, "PYTHONPATH": paths, "CONVEYOR_GCS_MOUNT": str(tmp_path / "gcs")}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        server.carry_out = in_a_process(env, tmp_path)
        yield server


def options(fake: Cloud, **over: Any) -> dict[str, Any]:
    return {
        "node": "Trainer",
        "line": "taxi",
        "image": "registry.example/conveyor:1",
        "project": "my-project-1",
        "region": "europe-west4",
        "api_endpoint": fake.url,
        "machine": {"machine_type": "n1-standard-8", "accelerator_count": 1},
        **over,
    }


def arguments(count: int) -> list[str]:
    told = {
        "inputs": {"parameterValues": {"count": count}, "artifacts": {}},
        "outputs": {
            "outputFile": "gs://bucket/job/Trainer/executor_output.json",
            "artifacts": {
                "examples": {"artifacts": [{"name": "x", "uri": "gs://bucket/job/Trainer/examples", "type": EXAMPLES}]}
            },
        },
    }
    spec = {"parameters": {"count": {"parameterType": "NUMBER_INTEGER"}}}
    return [
        *("--executor_class_path", "counting.Counting"),
        *("--json_serialized_invocation_args", json.dumps(told)),
        *("--json_serialized_inputs_spec_args", json.dumps(spec)),
        *("--run_id", "job-1"),
    ]


def step(fake: Cloud, tmp_path: Path, count: int, **over: Any) -> subprocess.Popen[bytes]:
    """Starts the step as its container does: looks at the job every 50 ms instead of every 20 s."""
    program = (
        "import sys; from pipeline.compiled import custom_job, step; "
        "custom_job._POLL_SECONDS = 0.05; custom_job.run_custom_job.__kwdefaults__['poll_seconds'] = 0.05; "
        "sys.exit(step.main())"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CONVEYOR_GCS_MOUNT": str(tmp_path / "gcs")}
    (tmp_path / "gcs" / "bucket").mkdir(parents=True, exist_ok=True)
    args = [*arguments(count), custom_jobs.CUSTOM_JOB_ARG, json.dumps(options(fake, **over))]
    return subprocess.Popen([sys.executable, "-c", program, *args], cwd=tmp_path, env=env)


def folder(tmp_path: Path) -> Path:
    return tmp_path / "gcs" / "bucket" / "job" / "Trainer"


@pytest.mark.slow
def test_the_job_does_the_work_of_the_step(fake: Cloud, tmp_path: Path) -> None:
    machine = {
        "machine_type": "n1-standard-8",
        "accelerator_type": "NVIDIA_TESLA_T4",
        "accelerator_count": 2,
        "boot_disk_size_gb": 200,
    }
    over = {"machine": machine, "service_account": "a@b.example", "network": "projects/1/global/networks/n"}
    assert step(fake, tmp_path, 3, **over).wait(120) == 0
    (made,) = handover.take(folder(tmp_path) / "examples") or []
    assert made.custom_properties["count"].int_value == 3
    assert (folder(tmp_path) / "executor_output.json").is_file()
    ((_, _, _, sent),) = fake.requests("POST .*customJobs")
    pool = {
        "machineSpec": {"machineType": "n1-standard-8", "acceleratorType": 5, "acceleratorCount": 2},
        "replicaCount": "1",
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 200},
        "containerSpec": {
            "imageUri": "registry.example/conveyor:1",
            "command": ["python", "-m", "pipeline.compiled.step"],
            "args": arguments(3),
        },
    }
    spec = {"workerPoolSpecs": [pool], "serviceAccount": "a@b.example", "network": "projects/1/global/networks/n"}
    assert sent["jobSpec"] == spec
    assert sent["labels"] == {"conveyor-line": "taxi", "conveyor-step": "trainer"}


@pytest.mark.slow
def test_its_failure_is_the_steps(fake: Cloud, tmp_path: Path) -> None:
    assert step(fake, tmp_path, -1).wait(120) == 4
    told = json.loads((folder(tmp_path) / ERROR_FILE).read_text(encoding="utf-8"))
    assert told == {"type": "DataRejected", "message": "fewer than none", "hint": "count again"}


@pytest.mark.slow
def test_a_job_that_never_came_to_the_step_says_why(fake: Cloud, tmp_path: Path) -> None:
    def no_machine(job: dict[str, Any]) -> str:
        job["error"] = {"code": 8, "message": "no such machine to be had"}
        return "JOB_STATE_FAILED"

    fake.carry_out = no_machine
    # What an attempt before has said.
    folder(tmp_path).mkdir(parents=True)
    (folder(tmp_path) / ERROR_FILE).write_text('{"type": "DataRejected", "message": "old", "hint": ""}')
    assert step(fake, tmp_path, 1).wait(60) == 1
    told = json.loads((folder(tmp_path) / ERROR_FILE).read_text(encoding="utf-8"))
    assert told["type"] == "StepFailed" and "no such machine to be had" in told["message"]


@pytest.mark.slow
def test_a_job_without_a_result_is_a_failure(fake: Cloud, tmp_path: Path) -> None:
    fake.carry_out = lambda job: "JOB_STATE_SUCCEEDED"
    assert step(fake, tmp_path, 1).wait(60) == 1
    told = json.loads((folder(tmp_path) / ERROR_FILE).read_text(encoding="utf-8"))
    assert "executor_output.json must be there" in told["message"]


def started(fake: Cloud) -> str:
    deadline = time.monotonic() + 60
    while not fake.requests("GET .*customJobs/1"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return next(iter(fake.jobs))


@pytest.mark.slow
def test_a_step_that_is_ended_cancels_its_job(fake: Cloud, tmp_path: Path) -> None:
    fake.carry_out = None
    process = step(fake, tmp_path, 1)
    name = started(fake)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert fake.jobs[name]["state"] == "JOB_STATE_CANCELLED"


@pytest.mark.slow
def test_a_second_try_waits_for_the_job_of_the_first(fake: Cloud, tmp_path: Path) -> None:
    carry_out, fake.carry_out = fake.carry_out, None
    assert carry_out is not None
    first = step(fake, tmp_path, 5)
    name = started(fake)
    first.kill()
    first.wait()
    second = step(fake, tmp_path, 5)

    def end() -> None:
        fake.jobs[name]["state"] = carry_out(fake.jobs[name])

    thread = threading.Thread(target=end)
    thread.start()
    assert second.wait(120) == 0
    thread.join()
    assert len(fake.jobs) == 1, "the job of the first try must not be done again"
    assert handover.take(folder(tmp_path) / "examples")


@pytest.mark.slow
def test_a_second_try_after_a_failure_is_a_new_job(fake: Cloud, tmp_path: Path) -> None:
    carry_out, fake.carry_out = fake.carry_out, lambda job: "JOB_STATE_FAILED"
    assert step(fake, tmp_path, 6).wait(60) == 1
    fake.carry_out = carry_out
    assert step(fake, tmp_path, 6).wait(120) == 0
    assert len(fake.jobs) == 2


def test_jobs_of_different_runs_and_folders_have_different_names(fake: Cloud) -> None:
    names = {
        custom_job(options(fake, node=node), run, Path(place), [])["displayName"]
        for node in ("Trainer", "Tuner")
        for run in ("a", "b")
        for place in ("/gcs/x", "/gcs/y")
    }
    assert len(names) == 8 and all(len(name) <= 128 for name in names)
