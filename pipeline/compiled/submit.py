"""Submits a line: compiles it, checks what it needs, and hands it to Vertex AI or Kubeflow Pipelines."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.vertex_ai import (
    CALL_SECONDS,
    VertexPlace,
    google_credentials,
    message_of,
    told_as_submission_error,
    vertex_client,
)
from pipeline.compiled.checks import config_problems, service_problems
from pipeline.compiled.job import Place, compile_job
from pipeline.compiled.kubeflow import submit_to_kubeflow
from pipeline.compiled.limits import check_limits
from pipeline.compiled.problems import refuse
from pipeline.compiled.submission import HIDDEN, Call, job_id, job_labels, kubeflow_calls, vertex_call
from pipeline.identity import new_run_id, provenance
from pipeline.inputs import resolve_inputs
from pipeline.logs import quiet_to_file
from pipeline.state import State
from schema.loading import LoadedLine
from schema.orchestration import OrchestrationConfig, Target

CONSOLE = "https://console.cloud.google.com/vertex-ai/locations"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A submission that nothing stands in the way of as far as the config goes.

    Attributes:
        loaded: the line config.
        target: where it goes.
        name: the job's id.
        labels: what tells where the job comes from.
        calls: the calls to make.
        notes: what to beware of.
    """

    loaded: LoadedLine
    target: Target
    name: str
    labels: dict[str, str]
    calls: tuple[Call, ...]
    notes: list[str]

    def shown(self) -> dict[str, Any]:
        """Returns what would be sent, tokens hidden."""
        config = self.loaded.line.orchestration
        bearer = self.target == "vertex" or config.token is not None
        headers = {"Authorization": f"Bearer {HIDDEN}"} if bearer else None
        return {
            "target": self.target,
            "job": self.name,
            "labels": self.labels,
            "requests": [call.shown(headers) for call in self.calls],
            "notes": self.notes,
        }


def prepare(
    loaded: LoadedLine, state: State, target: Target, *, span: str = "all", env: Mapping[str, str] = os.environ
) -> Prepared:
    """Compiles a line and says what is to be sent. Asks no service.

    Args:
        loaded: the line config.
        state: the line's state here.
        target: where it goes.
        span: the newest span of the window.
        env: the environment.

    Raises:
        ConfigError: the config does not fit the target, or the spec is too large for it.
        SpanError: the window is empty or has a gap.
    """
    problems, notes = config_problems(loaded, target, env)
    refuse(loaded.files, problems)
    place = Place.of(loaded, target, env)
    inputs = resolve_inputs(loaded, state, span=span)
    with quiet_to_file(Path(os.devnull)):
        job = compile_job(loaded, inputs, place)
    run_id = new_run_id()
    name = job_id(loaded.line.name, run_id)
    labels = job_labels(loaded.line, provenance(), run_id)
    check_limits(job, target, labels)
    config = loaded.line.orchestration
    if target == "vertex":
        return Prepared(loaded, target, name, labels, (vertex_call(job, config, name, labels),), notes)
    return Prepared(loaded, target, name, labels, kubeflow_calls(job, config, name, labels), notes)


def submit(prepared: Prepared) -> dict[str, Any]:
    """Checks everything that the submission needs, and submits it.

    Args:
        prepared: what to submit.

    Returns:
        `target`, `job`, `id` (the service's name for it), `url` (its page), `labels` and `notes`.

    Raises:
        ConfigError: something is wrong that the config can mend; nothing was submitted.
        SubmissionError: a service cannot be reached, or refuses.
    """
    loaded = prepared.loaded
    problems, notes = service_problems(loaded, prepared.target)
    refuse(loaded.files, problems)
    config = loaded.line.orchestration
    if prepared.target == "vertex":
        made = _to_vertex(prepared.calls[0], config, prepared.name)
    else:
        made = submit_to_kubeflow(prepared.calls, config, loaded.secrets.get("orchestration.token"))
    told = {"target": prepared.target, "job": prepared.name, "labels": prepared.labels}
    return {**told, **made, "notes": [*prepared.notes, *notes]}


def _to_vertex(call: Call, config: OrchestrationConfig, name: str) -> dict[str, str]:
    place = VertexPlace.of_config(config)
    assert call.body is not None
    credentials = google_credentials()
    hint = "look in the list of jobs before you try again: it may have been submitted all the same"
    with told_as_submission_error(f"orchestration.project: submitting {name} to {place.parent}", hint):
        if config.schedule is not None:
            client = vertex_client("ScheduleServiceClient", place, credentials)
            schedule = message_of("Schedule", call.body)
            made = client.create_schedule(parent=place.parent, schedule=schedule, timeout=CALL_SECONDS)
            page = f"schedules/{made.name.rpartition('/')[2]}/runs"
        else:
            client = vertex_client("PipelineServiceClient", place, credentials)
            made = client.create_pipeline_job(
                parent=place.parent,
                pipeline_job=message_of("PipelineJob", call.body),
                pipeline_job_id=name,
                timeout=CALL_SECONDS,
            )
            page = f"runs/{name}"
    url = f"{CONSOLE}/{place.region}/pipelines/{page}?project={place.project}"
    return {"id": made.name, "url": url}
