"""The `orchestration` section takes what Vertex AI and Kubeflow Pipelines can take."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schema.orchestration import CustomJobConfig, OrchestrationConfig, ScheduleConfig


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("project", ["my-project-1", "example.com:my-project"]),
        ("region", ["europe-west4", "us-central1", "northamerica-northeast2"]),
        ("service_account", ["trainer@my-project-1.iam.gserviceaccount.com", "pipeline-runner", "team.runner"]),
        ("endpoint", ["https://kubeflow.example/pipeline", "http://127.0.0.1:8080"]),
        ("namespace", ["team-1"]),
        ("network", ["projects/123/global/networks/default"]),
    ],
)
def test_what_is_taken(key: str, values: list[str]) -> None:
    for value in values:
        assert getattr(OrchestrationConfig(**{key: value}), key) == value


@pytest.mark.parametrize(
    ("key", "values", "allowed"),
    [
        ("project", ["My Project", "short", "123456", "1project", "project-"], "a project id such as my-project-1"),
        ("region", ["europe", "europe-west", "Europe-West4", "europe-west4-a"], "a region such as europe-west4"),
        ("service_account", ["Trainer", "a@b", "a b", "-x"], "an e-mail address such as"),
        ("endpoint", ["kubeflow.example", "ftp://x", "https://", "https://x/?a=1", "https://x:y/"], "an http:// or"),
        ("namespace", ["Team", "a.b", "-a", "a" * 64], "a Kubernetes namespace"),
        ("network", ["default", "projects/name/global/networks/x"], "projects/NUMBER/global/networks/NAME"),
    ],
)
def test_what_is_refused(key: str, values: list[str], allowed: str) -> None:
    for value in values:
        with pytest.raises(ValidationError, match=f"must be {allowed}.*Got .* instead"):
            OrchestrationConfig(**{key: value})


def test_a_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(ValidationError) as raised:
        OrchestrationConfig(endpoint="https://me:s3cret@kubeflow.example")
    (error,) = raised.value.errors(include_input=False)
    assert "a URL with a user or password" in error["msg"] and "s3cret" not in error["msg"]


@pytest.mark.parametrize(
    "cron", ["* * * * *", "0 5 * * 1-5", "*/15 0-6,22 1,15 jan-MAR sun", "59 23 31 12 6", "5/10 * * * *"]
)
def test_crons(cron: str) -> None:
    assert ScheduleConfig(cron=cron).cron == cron


@pytest.mark.parametrize(
    "cron",
    ["", "0 5 * *", "0 0 5 * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *"]
    + ["*/0 * * * *", "a * * * *", "1- * * * *", "@daily", "TZ=UTC 0 5 * * *", "* * * sun *", "1-2-3 * * * *"],
)
def test_what_is_no_cron(cron: str) -> None:
    with pytest.raises(ValidationError, match=r"must be cron's five fields.*Got .* instead"):
        ScheduleConfig(cron=cron)


def test_time_zones() -> None:
    assert ScheduleConfig(cron="0 5 * * *").time_zone == "UTC"
    assert ScheduleConfig(cron="0 5 * * *", time_zone="Europe/Amsterdam").time_zone == "Europe/Amsterdam"
    for zone in ("Europe/Atlantis", "", "../etc/passwd", "Europe"):
        with pytest.raises(ValidationError, match="must be an IANA time zone such as Europe/Amsterdam"):
            ScheduleConfig(cron="0 5 * * *", time_zone=zone)


@pytest.mark.parametrize("count", [0, 2])
def test_runs_never_overlap(count: int) -> None:
    with pytest.raises(ValidationError):
        ScheduleConfig(cron="0 5 * * *", max_concurrent_run_count=count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "over",
    [
        {"custom_jobs": {"Evaluator": {"machine_type": "n1-standard-8"}}},
        {"custom_jobs": {"Trainer": {}}},
        {"custom_jobs": {"Trainer": {"machine_type": "N1 standard"}}},
        {"custom_jobs": {"Trainer": {"machine_type": "n1-standard-8", "boot_disk_size_gb": 10}}},
    ],
)
def test_what_is_no_custom_job(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OrchestrationConfig(**over)


def test_a_custom_job() -> None:
    given = {"Tuner": {"machine_type": "a2-highgpu-1g", "accelerator_type": "NVIDIA_TESLA_A100"}}
    assert OrchestrationConfig(**{"custom_jobs": given}).custom_jobs["Tuner"] == CustomJobConfig(
        machine_type="a2-highgpu-1g", accelerator_type="NVIDIA_TESLA_A100", accelerator_count=1
    )
