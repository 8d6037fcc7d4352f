"""What a config adds to a compiled spec: custom jobs, and a window that each run finds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.compiled.job import Place, compile_job
from schema.errors import ConfigError, UsageError
from schema.loading import LoadedLine, load_line
from tests.golden.test_dag import LINES, WINDOW, run_inputs

PLACE = {"image": "registry.example/conveyor:1", "pipeline_root": "gs://bucket/root"}
VERTEX = {**PLACE, "project": "my-project-1", "region": "europe-west4"}
JOBS = {
    "Trainer": {"machine_type": "n1-standard-8", "accelerator_type": "NVIDIA_TESLA_T4"},
    "Tuner": {"machine_type": "n1-highmem-4"},
}
SCHEDULE = {"cron": "0 5 * * *"}


def line(tmp_path: Path, orchestration: dict[str, Any], **over: Any) -> LoadedLine:
    text = LINES["taxi"].read_text(encoding="utf-8").replace("../../schema", str(Path("schema").resolve()))
    (tmp_path / "line.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "line.x.yaml").write_text(yaml.safe_dump({"orchestration": orchestration, **over}), encoding="utf-8")
    return load_line(tmp_path / "line.yaml", environment="x", env={})


def spec(loaded: LoadedLine, tmp_path: Path, place: Place | None = None, **inputs: Any) -> dict[str, Any]:
    given = dataclasses.replace(run_inputs(tmp_path / "schema.pbtxt"), schema_digest="", **inputs)
    return compile_job(loaded, given, place or Place.of(loaded, "vertex", {}))["pipelineSpec"]


def arguments(compiled: dict[str, Any], node: str) -> list[str]:
    return compiled["deploymentSpec"]["executors"][f"{node}_executor"]["container"]["args"]


def test_a_custom_job_is_an_argument_of_its_step_only(tmp_path: Path) -> None:
    account = "a@my-project-1.iam.gserviceaccount.com"
    resources = {"default": {"cpu": "1"}, "Trainer": {"cpu": "8"}}
    over = {"custom_jobs": JOBS, "service_account": account, "resources": resources}
    compiled = spec(line(tmp_path, {**VERTEX, **over}), tmp_path)
    for node in ("Trainer", "Tuner"):
        *_, option, text = arguments(compiled, node)
        assert option == "--custom_job"
        told = json.loads(text)
        assert told["machine"]["machine_type"] == JOBS[node]["machine_type"]
        assert (told["project"], told["region"], told["image"]) == ("my-project-1", "europe-west4", PLACE["image"])
        assert (told["node"], told["service_account"]) == (node, account)
    others = set(compiled["root"]["dag"]["tasks"]) - {"Trainer", "Tuner"}
    containers = {node: compiled["deploymentSpec"]["executors"][f"{node}_executor"]["container"] for node in JOBS}
    assert not any("resources" in one for one in containers.values()), "it only waits"
    assert len(others) == 10 and not any("--custom_job" in arguments(compiled, node) for node in others)


def test_kubernetes_service_accounts_are_not_vertexs(tmp_path: Path) -> None:
    loaded = line(tmp_path, {**VERTEX, "custom_jobs": JOBS, "service_account": "runner"})
    compiled = spec(loaded, tmp_path, Place.of(loaded, "kubeflow", {}))
    assert "service_account" not in json.loads(arguments(compiled, "Trainer")[-1])


def test_a_place_on_this_machine_has_no_custom_jobs(tmp_path: Path) -> None:
    loaded = line(tmp_path, {**VERTEX, "custom_jobs": JOBS})
    # As `conveyor run --as-compiled` has it.
    compiled = spec(loaded, tmp_path, Place("image", str(tmp_path), tmp_path / "state"))
    assert "--custom_job" not in arguments(compiled, "Trainer")


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"project": None}, "orchestration.project must be set for orchestration.custom_jobs.Trainer"),
        ({"region": None}, "orchestration.region must be set for orchestration.custom_jobs.Trainer"),
        ({"pipeline_root": "/mnt"}, "orchestration.pipeline_root must be gs://BUCKET/FOLDER for orchestration.custom_"),
    ],
)
def test_what_a_custom_job_needs(tmp_path: Path, over: dict[str, Any], said: str) -> None:
    loaded = line(tmp_path, {**VERTEX, "custom_jobs": JOBS, **over})
    with pytest.raises(ConfigError, match=said):
        Place.of(loaded, "kubeflow", {})


def window_of(compiled: dict[str, Any]) -> Any:
    task = compiled["root"]["dag"]["tasks"]["SpanExampleGen"]
    return json.loads(task["inputs"]["parameters"]["window"]["runtimeValue"]["constant"])


def test_the_window_is_open_with_a_schedule_only(tmp_path: Path) -> None:
    closed = spec(line(tmp_path, VERTEX), tmp_path)
    assert window_of(closed) == json.loads(WINDOW.to_json())
    opened = spec(line(tmp_path, {**VERTEX, "schedule": SCHEDULE}), tmp_path, selection="latest")
    assert window_of(opened) == {"base_dir": str(tmp_path), "selection": "latest"}


def test_a_schedule_never_ends_at_a_span(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--span must be all or latest with orchestration\.schedule.*'2016Q1'"):
        spec(line(tmp_path, {**VERTEX, "schedule": SCHEDULE}), tmp_path, selection="2016Q1")


def test_a_schedule_never_starts_from_the_model_of_the_day_that_it_was_made(tmp_path: Path) -> None:
    loaded = line(tmp_path, {**VERTEX, "schedule": SCHEDULE}, trainer={"warm_start": True})
    with pytest.raises(ConfigError, match=r"trainer\.warm_start must be off with orchestration\.schedule"):
        spec(loaded, tmp_path)
