"""Compiles a line into a PipelineJob, by TFX's KubeflowV2DagRunner."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.mounts import as_folder
from data.window import OpenWindow
from pipeline.beam_options import SETUP_FILE, beam_pipeline_args
from pipeline.compiled.custom_job import COMMAND, CUSTOM_JOB_ARG, custom_job_options
from pipeline.inputs import RunInputs
from pipeline.state import State
from schema.errors import ConfigError, UsageError
from schema.line import Line
from schema.loading import LoadedLine
from schema.orchestration import OrchestrationConfig, ResourcesConfig, Target

RUN_ID_ARGS = ("--run_id", "{{$.pipeline_job_name}}")
# Their results hang on the release ledger, which is no input that a service could compare.
_NEVER_CACHED = ("baseline", "Pusher")
_FACTORS = {
    "": 1.0,
    "m": 1e-3,
    **{f"{letter}": 10.0 ** (3 * power) for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", 1)},
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a compiled pipeline runs.

    Attributes:
        image: the container image of its steps.
        pipeline_root: where artifacts go, a folder or `gs://BUCKET/FOLDER`.
        state: the line's state, as the steps see it.
        custom_jobs: node to the options of the Vertex custom job that does its work.
    """

    image: str
    pipeline_root: str
    state: Path
    custom_jobs: Mapping[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, loaded: LoadedLine, target: Target, env: Mapping[str, str]) -> Place:
        """Returns the place that a line's config names.

        Args:
            loaded: the line config.
            target: what to compile for.
            env: the environment.

        Raises:
            ConfigError: a key is missing, or is nothing for this target.
        """
        config = loaded.line.orchestration
        files = ", ".join(map(str, loaded.files))
        for key in ("image", "pipeline_root"):
            if getattr(config, key) is None:
                raise ConfigError(
                    f"{files}: orchestration.{key} must be set to compile for {target}. Got nothing instead",
                    hint=f"set orchestration.{key}, best in an overlay such as line.prod.yaml (--env prod)",
                )
        assert config.image is not None and config.pipeline_root is not None
        if target == "vertex" and not config.pipeline_root.startswith("gs://"):
            raise ConfigError(
                f"{files}: orchestration.pipeline_root must be gs://BUCKET/FOLDER for vertex. Got "
                f"{config.pipeline_root!r} instead",
                hint="name a bucket in the project's region, which the pipeline's service account may write to",
            )
        state = config.state or f"{as_folder(config.pipeline_root, env)}/state/{loaded.line.name}"
        return cls(config.image, config.pipeline_root, Path(state), custom_job_options(loaded, target))


def compile_job(loaded: LoadedLine, inputs: RunInputs, place: Place) -> dict[str, Any]:
    """Returns a line as a PipelineJob, JSON-ready: the same for the same line and inputs.

    Args:
        loaded: the line config.
        inputs: the window, the schema and the code digests. The window's files are read at the same paths by the steps.
        place: where it will run.

    Raises:
        ConfigError: the options for Beam do not fit, or the line cannot run by a schedule.
        UsageError: a schedule, and a window that always ends at the same span.
    """
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline.graph import create_pipeline

    line = loaded.line
    if inputs.schema_digest:
        inputs = dataclasses.replace(inputs, schema_text=inputs.schema_file.read_text(encoding="utf-8"))
    if line.orchestration.schedule is not None:
        inputs = _by_schedule(loaded, inputs)
    pipeline = create_pipeline(
        line,
        inputs,
        State(place.state, line.name),
        beam_args=beam_pipeline_args(line.beam, inputs.input_bytes, SETUP_FILE),
        resolvers=False,
    )
    # A Path would have mangled its scheme.
    pipeline.pipeline_info.pipeline_root = place.pipeline_root
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=place.image, default_commands=COMMAND, use_pipeline_spec_2_1=True
    )
    job: dict[str, Any] = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config).run(pipeline, write_out=False)
    _finish(job["pipelineSpec"], line, place)
    return job


def _by_schedule(loaded: LoadedLine, inputs: RunInputs) -> RunInputs:
    files = ", ".join(map(str, loaded.files))
    if loaded.line.trainer.warm_start:
        raise ConfigError(
            f"{files}: trainer.warm_start must be off with orchestration.schedule: the model to start from is found "
            "when the line is compiled, and would be the same in every run",
            hint="leave out trainer.warm_start, or orchestration.schedule",
        )
    if inputs.selection not in ("all", "latest"):
        raise UsageError(
            f"--span must be all or latest with orchestration.schedule: each run finds the newest span. Got "
            f"{inputs.selection!r} instead"
        )
    return dataclasses.replace(
        inputs, open_window=OpenWindow(base_dir=str(loaded.base_dir), selection=inputs.selection)
    )


def _finish(spec: dict[str, Any], line: Line, place: Place) -> None:
    config = line.orchestration
    # A service would compare the window's text, which stays the same when there is a new span.
    never_cached = (*_NEVER_CACHED, "SpanExampleGen") if config.schedule else _NEVER_CACHED
    for name, task in spec["root"]["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        container["args"] = [*container["args"], *RUN_ID_ARGS]
        if name in place.custom_jobs:
            container["args"] += [CUSTOM_JOB_ARG, json.dumps(place.custom_jobs[name], sort_keys=True)]
        # A container that only waits for a custom job needs nothing of what the work needs.
        found = {} if name in place.custom_jobs else _resources(config, name)
        if found:
            container["resources"] = found
        cached = config.enable_cache and name not in never_cached
        task["cachingOptions"] = {"enableCache": True} if cached else {}
        if config.max_retry_count:
            task["retryPolicy"] = {"maxRetryCount": config.max_retry_count}


def _resources(config: OrchestrationConfig, node: str) -> dict[str, Any]:
    """Returns a ResourceSpec: CPUs, and memory in units of 10^9 bytes."""
    given = config.resources.get(node) or config.resources.get("default") or ResourcesConfig()
    found: dict[str, Any] = {}
    if given.cpu is not None:
        found["cpuLimit"] = _number(given.cpu)
    if given.memory is not None:
        found["memoryLimit"] = _number(given.memory) / 1e9
    if given.accelerator_type is not None:
        found["accelerator"] = {"type": given.accelerator_type, "count": str(given.accelerator_count)}
    return found


def _number(quantity: str) -> float:
    match = re.fullmatch(r"([\d.]+)(.*)", quantity)
    assert match is not None, "the config has looked at it"
    return float(match[1]) * _FACTORS[match[2]]
