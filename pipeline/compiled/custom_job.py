"""A step whose work is done by a Vertex custom job: the same image, command and arguments, on a machine of its own.

The step's container only creates the job, waits for its end and passes on how it ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.vertex_ai import VertexPlace, message_of, told_as_submission_error, vertex_client
from pipeline.compiled.failures import ERROR_FILE, StepFailed, told_failure
from pipeline.compiled.handover import OUTPUT_FILE
from schema.errors import ConfigError, SubmissionError
from schema.loading import LoadedLine
from schema.orchestration import Target

CUSTOM_JOB_ARG = "--custom_job"
COMMAND = ["python", "-m", "pipeline.compiled.step"]
"""The command of every container."""
_WAITING = ("JOB_STATE_QUEUED", "JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_UPDATING")
_UNSETTLED = (*_WAITING, "JOB_STATE_CANCELLING", "JOB_STATE_PAUSED")
_POLL_SECONDS = 20.0
_LOST_AFTER = 30
_LOG = logging.getLogger(__name__)


class _Terminated(BaseException):
    """The container has been told to end."""


def custom_job_options(loaded: LoadedLine, target: Target) -> dict[str, dict[str, Any]]:
    """Returns node to what its step needs to create the custom job.

    Args:
        loaded: the line config.
        target: what it is compiled for.

    Raises:
        ConfigError: there are custom jobs, but not all that they need.
    """
    config = loaded.line.orchestration
    found = {}
    for node, machine in config.custom_jobs.items():
        for key, given in (("project", config.project), ("region", config.region)):
            if given is None:
                raise ConfigError(
                    f"{', '.join(map(str, loaded.files))}: orchestration.{key} must be set for "
                    f"orchestration.custom_jobs.{node}. Got nothing instead",
                    hint="custom jobs run in Vertex AI, whatever runs the pipeline",
                )
        if not (config.pipeline_root or "").startswith("gs://"):
            raise ConfigError(
                f"{', '.join(map(str, loaded.files))}: orchestration.pipeline_root must be gs://BUCKET/FOLDER for "
                f"orchestration.custom_jobs.{node}. Got {config.pipeline_root!r} instead",
                hint="a custom job has no other folder than Cloud Storage, mounted at /gcs",
            )
        # A Kubernetes service account says nothing to Vertex.
        account = config.service_account if target == "vertex" else None
        options = {
            "node": node,
            "line": loaded.line.name,
            "image": config.image,
            "project": config.project,
            "region": config.region,
            "api_endpoint": config.api_endpoint,
            "service_account": account,
            "network": config.network,
            "machine": machine.model_dump(mode="json", exclude_none=True),
        }
        found[str(node)] = {key: value for key, value in options.items() if value is not None}
    return found


def custom_job(options: dict[str, Any], run_id: str, folder: Path, args: Sequence[str]) -> dict[str, Any]:
    """Returns the CustomJob of a step, JSON-ready.

    Its name is a function of run and step, so that a step that is tried again finds the job of the first time.

    Args:
        options: see `custom_job_options`.
        run_id: the pipeline job.
        folder: the folder of the step.
        args: the arguments of the step's command.
    """
    machine = options["machine"]
    spec: dict[str, Any] = {"machineType": machine["machine_type"]}
    if "accelerator_type" in machine:
        spec["acceleratorType"] = machine["accelerator_type"]
        spec["acceleratorCount"] = machine["accelerator_count"]
    pool: dict[str, Any] = {
        "machineSpec": spec,
        "replicaCount": "1",
        "containerSpec": {"imageUri": options["image"], "command": COMMAND, "args": list(args)},
    }
    if "boot_disk_size_gb" in machine:
        pool["diskSpec"] = {"bootDiskType": "pd-ssd", "bootDiskSizeGb": machine["boot_disk_size_gb"]}
    job_spec: dict[str, Any] = {"workerPoolSpecs": [pool]}
    for key, name in (("service_account", "serviceAccount"), ("network", "network")):
        if key in options:
            job_spec[name] = options[key]
    # Two runs of a name can only be told apart by where they write.
    mark = hashlib.sha256(f"{run_id}\n{folder}".encode()).hexdigest()[:16]
    name = f"{options['line']}-{options['node'].lower()}-{mark}"
    return {
        "displayName": name,
        "jobSpec": job_spec,
        "labels": {"conveyor-line": options["line"], "conveyor-step": options["node"].lower()},
    }


def run_custom_job(
    options: dict[str, Any], run_id: str, folder: Path, args: Sequence[str], *, poll_seconds: float = _POLL_SECONDS
) -> None:
    """Has a step's work done by a custom job, and waits for its end. On SIGTERM the job is cancelled.

    Args:
        options: see `custom_job_options`.
        run_id: the pipeline job.
        folder: the folder of the step, mounted.
        args: the arguments of the step's command.
        poll_seconds: how long to wait between looks at the job.

    Raises:
        ConveyorError: what the step in the job says of itself.
        StepFailed: the job ended without a word of the step, or without its result.
        SubmissionError: Vertex cannot be reached, or refuses.
    """
    place = VertexPlace.of(options["project"], options["region"], options.get("api_endpoint"))
    body = custom_job(options, run_id, folder, args)
    client = vertex_client("JobServiceClient", place)
    hint = "look at orchestration.custom_jobs, and at what the pipeline's service account may do (aiplatform.user)"
    with _terminable():
        name = None
        try:
            with told_as_submission_error(f"creating the custom job {body['displayName']}", hint):
                name = _earlier(client, place, body["displayName"], folder)
                if name is None:
                    # What an attempt before has said must not be taken for this one's word.
                    (folder / ERROR_FILE).unlink(missing_ok=True)
                    (folder / OUTPUT_FILE).unlink(missing_ok=True)
                    name = client.create_custom_job(parent=place.parent, custom_job=message_of("CustomJob", body)).name
            _LOG.info("custom job %s", name)
            state, said = _end_of(client, name, poll_seconds)
        except _Terminated:
            # It may have been created without our having been told its name.
            name = name or _earlier(client, place, body["displayName"], folder)
            if name is not None:
                _LOG.warning("cancelling the custom job %s", name)
                client.cancel_custom_job(name=name)
            raise StepFailed(f"{options['node']}: the step was ended, and its custom job {name} with it") from None
    if state != "JOB_STATE_SUCCEEDED":
        told = told_failure(options["node"], folder)
        raise told or StepFailed(
            f"{options['node']}: the custom job {name} ended as {state}: {said or 'it does not say why'}",
            hint="its log in the console says more",
        )
    if not (folder / OUTPUT_FILE).is_file():
        raise StepFailed(
            f"{folder / OUTPUT_FILE} must be there after the custom job {name}. Got no such file instead",
            hint="the bucket of orchestration.pipeline_root must be mounted at /gcs in the job too",
        )


def _earlier(client: Any, place: VertexPlace, display_name: str, folder: Path) -> str | None:
    """Returns the job of an attempt before that is still at it, or has done the work."""
    request = {"parent": place.parent, "filter": f'display_name="{display_name}"'}
    for job in client.list_custom_jobs(request=request):
        if job.display_name != display_name:
            continue
        done = job.state.name == "JOB_STATE_SUCCEEDED" and (folder / OUTPUT_FILE).is_file()
        if done or job.state.name in _WAITING:
            return str(job.name)
    return None


def _end_of(client: Any, name: str, poll_seconds: float) -> tuple[str, str]:
    lost = 0
    while True:
        try:
            with told_as_submission_error(f"asking for the custom job {name}", "it may be running still"):
                job = client.get_custom_job(name=name)
        except SubmissionError:
            # The job goes on, and with it most of the costs; a passing fault must not waste them.
            lost += 1
            if lost >= _LOST_AFTER:
                raise
        else:
            lost = 0
            if job.state.name not in _UNSETTLED and job.state.name != "JOB_STATE_UNSPECIFIED":
                return job.state.name, job.error.message
        time.sleep(poll_seconds)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    def end(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
