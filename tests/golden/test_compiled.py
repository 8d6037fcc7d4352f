"""The pipeline specs of a shipped line, held against files, and against the protos of kfp-pipeline-spec.
`CONVEYOR_REGENERATE_GOLDEN=1 pytest tests/golden` writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from pipeline.compiled.job import Place, compile_job
from pipeline.compiled.spec_file import spec_text
from schema.loading import LoadedLine, load_line
from schema.orchestration import NODES, Target
from tests.golden.test_dag import LINES, run_inputs

FOLDER = Path(__file__).parent / "compiled"
OVERLAY = """\
orchestration:
  image: registry.example/conveyor:1
  pipeline_root: gs://bucket/root
  enable_cache: true
  resources:
    default: {cpu: 500m, memory: 8Gi}
    Trainer: {cpu: "4", memory: 16G, accelerator_type: NVIDIA_TESLA_T4}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedLine:
    text = LINES["taxi"].read_text(encoding="utf-8").replace("../../schema", str(Path("schema").resolve()))
    (tmp_path / "line.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "line.prod.yaml").write_text(OVERLAY, encoding="utf-8")
    return load_line(tmp_path / "line.yaml", environment="prod", env={})


def compiled(loaded: LoadedLine, schema_file: Path, target: Target = "vertex") -> dict[str, Any]:
    return compile_job(loaded, run_inputs(schema_file), Place.of(loaded, target, {}))


@pytest.fixture
def schema_file(tmp_path: Path) -> Path:
    file = tmp_path / "schema.pbtxt"
    file.write_text('feature { name: "fare" }\n', encoding="utf-8")
    return file


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_a_compiled_spec_is_the_golden_one(loaded: LoadedLine, schema_file: Path, target: Target) -> None:
    job = compiled(loaded, schema_file, target)
    # What names the versions that compiled it, or this test's own folder.
    job["labels"] = {}
    job["pipelineSpec"]["sdkVersion"] = ""
    found = spec_text(job, target).replace(str(schema_file.parent), "/line")
    golden = FOLDER / f"taxi.{'json' if target == 'vertex' else 'yaml'}"
    if os.environ.get("CONVEYOR_REGENERATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_both_are_what_their_services_read(loaded: LoadedLine, schema_file: Path) -> None:
    from kfp.pipeline_spec import pipeline_spec_pb2

    job = compiled(loaded, schema_file)
    read = json_format.Parse(spec_text(job, "vertex"), pipeline_spec_pb2.PipelineJob())
    assert read.runtime_config.gcs_output_directory == "gs://bucket/root"
    document = yaml.safe_load(spec_text(job, "kubeflow"))
    spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
    assert set(spec.root.dag.tasks) == set(NODES)
    assert spec.schema_version == "2.1.0"
    deployment = json_format.ParseDict(document["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    container = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec
    assert {type(one.container) for one in deployment.executors.values()} == {container}


def test_resources_retries_and_caching_are_the_configs(loaded: LoadedLine, schema_file: Path) -> None:
    spec = compiled(loaded, schema_file)["pipelineSpec"]
    executors = spec["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["resources"] == {
        "cpuLimit": 4.0,
        "memoryLimit": 16.0,
        "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "1"},
    }
    assert executors["DataGate_executor"]["container"]["resources"] == {
        "cpuLimit": 0.5,
        "memoryLimit": pytest.approx(8.589934592),
    }
    tasks = spec["root"]["dag"]["tasks"]
    assert {task["retryPolicy"]["maxRetryCount"] for task in tasks.values()} == {1}
    cached = {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")}
    assert cached == set(NODES) - {"baseline", "Pusher"}, "what hangs on the release ledger is done every time"


def test_every_step_starts_ours_with_the_image_and_the_run_id(loaded: LoadedLine, schema_file: Path) -> None:
    spec = compiled(loaded, schema_file)["pipelineSpec"]
    for executor in spec["deploymentSpec"]["executors"].values():
        container = executor["container"]
        assert container["image"] == "registry.example/conveyor:1"
        assert container["command"] == ["python", "-m", "pipeline.compiled.step"]
        assert container["args"][-2:] == ["--run_id", "{{$.pipeline_job_name}}"]


def test_the_curated_schema_goes_along(loaded: LoadedLine, schema_file: Path) -> None:
    tasks = compiled(loaded, schema_file)["pipelineSpec"]["root"]["dag"]["tasks"]
    given = tasks["CuratedSchemaGen"]["inputs"]["parameters"]["schema_text"]["runtimeValue"]["constant"]
    assert given == 'feature { name: "fare" }\n'


def test_the_state_lies_where_the_steps_have_the_bucket_mounted(loaded: LoadedLine) -> None:
    assert Place.of(loaded, "vertex", {}).state == Path("/gcs/bucket/root/state/taxi")
    elsewhere = {"CONVEYOR_GCS_MOUNT": "/mnt"}
    assert Place.of(loaded, "kubeflow", elsewhere).state == Path("/mnt/bucket/root/state/taxi")
