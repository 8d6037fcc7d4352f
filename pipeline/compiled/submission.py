"""What is sent to submit a compiled pipeline. Pure: nothing here asks a service, so `--dry-run` prints just this."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any
from urllib.parse import urlencode

from components.vertex_ai import VertexPlace
from pipeline.identity import Provenance
from schema.base import sha256_json
from schema.line import Line
from schema.orchestration import OrchestrationConfig

HIDDEN = "***"
EXPERIMENT_ID = "EXPERIMENT_ID"
"""Stands for the experiment's id, which only the service knows."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A call of a REST API.

    Attributes:
        method: GET or POST.
        url: the URL, query included.
        body: the JSON body, or None.
        when: in which case it is made, or None for always.
    """

    method: str
    url: str
    body: dict[str, Any] | None = None
    when: str | None = None

    def shown(self, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Returns the call as people are shown it."""
        whole = {"method": self.method, "url": self.url, "headers": headers, "body": self.body, "when": self.when}
        return {key: value for key, value in whole.items() if value is not None}


def job_id(line: str, run_id: str) -> str:
    """Returns the id of a pipeline job: as Vertex wants it (`[a-z][-a-z0-9]{0,127}`), and unique as the run id is."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{line}-{run_id}".lower()).strip("-")
    return name if name[0].isalpha() else f"line-{name}"


def schedule_name(line: str) -> str:
    """Returns the name of a line's schedule: always the same, so that a second one is noticed."""
    return f"{line}-schedule"


def job_labels(line: Line, identity: Provenance, run_id: str) -> dict[str, str]:
    """Returns what tells where a job comes from: the line, its config digest and the git commit.

    Args:
        line: the line config.
        identity: code and environment.
        run_id: the run id.
    """
    labels = {
        "conveyor-line": line.name,
        # Half a digest: a label has 63 characters at most.
        "conveyor-config": sha256_json(line.model_dump(mode="json", by_alias=True))[:32],
        "conveyor-run": re.sub(r"[^a-z0-9]+", "-", run_id.lower()),
    }
    if identity.git_commit:
        labels["conveyor-commit"] = identity.git_commit + ("-dirty" if identity.git_dirty else "")
    return labels


def vertex_call(job: dict[str, Any], config: OrchestrationConfig, name: str, labels: dict[str, str]) -> Call:
    """Returns the call that creates a PipelineJob, or the Schedule of one.

    Args:
        job: the compiled PipelineJob.
        config: the `orchestration` section; `project` and `region` must be set.
        name: the job's id.
        labels: are added to the job's own.
    """
    place = VertexPlace.of_config(config)
    body: dict[str, Any] = {
        "displayName": name,
        "labels": {**job.get("labels", {}), **labels},
        "pipelineSpec": job["pipelineSpec"],
        "runtimeConfig": {"gcsOutputDirectory": job["runtimeConfig"]["gcsOutputDirectory"]},
    }
    if config.service_account is not None:
        body["serviceAccount"] = config.service_account
    if config.network is not None:
        body["network"] = config.network
    base = f"{place.api}/v1/{place.parent}"
    if config.schedule is None:
        return Call("POST", f"{base}/pipelineJobs?{urlencode({'pipelineJobId': name})}", body)
    schedule = {
        "displayName": schedule_name(labels["conveyor-line"]),
        "cron": f"TZ={config.schedule.time_zone} {config.schedule.cron}",
        # The first counts requests that are being started, the second runs that have not ended. One that is due while
        # another is at it is left out (allowQueueing is not set): the next one has the newest spans anyway.
        "maxConcurrentRunCount": str(config.schedule.max_concurrent_run_count),
        "maxConcurrentActiveRunCount": str(config.schedule.max_concurrent_run_count),
        "createPipelineJobRequest": {"parent": place.parent, "pipelineJob": body},
    }
    return Call("POST", f"{base}/schedules", schedule)


def kubeflow_calls(
    job: dict[str, Any], config: OrchestrationConfig, name: str, labels: dict[str, str]
) -> tuple[Call, ...]:
    """Returns the calls that create a run, or a recurring run; the last one is the creation.

    Args:
        job: the compiled PipelineJob.
        config: the `orchestration` section; `endpoint` must be set.
        name: the run's name.
        labels: go into its description; KFP's runs have no labels.
    """
    api = f"{config.endpoint}/apis/v2beta1"
    run: dict[str, Any] = {
        "display_name": name,
        "description": " ".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "pipeline_spec": job["pipelineSpec"],
        "runtime_config": {"parameters": {}, "pipeline_root": job["runtimeConfig"]["gcsOutputDirectory"]},
    }
    if config.service_account is not None:
        run["service_account"] = config.service_account
    calls: list[Call] = []
    # Without an experiment a deployment for several users has no way to know the namespace.
    experiment = config.experiment or ("Default" if config.namespace else None)
    if experiment is not None:
        predicate = {"operation": "EQUALS", "key": "display_name", "string_value": experiment}
        query = {"filter": json.dumps({"predicates": [predicate]})}
        wanted = {"display_name": experiment}
        if config.namespace is not None:
            query["namespace"] = wanted["namespace"] = config.namespace
        calls.append(Call("GET", f"{api}/experiments?{urlencode(query)}"))
        calls.append(Call("POST", f"{api}/experiments", wanted, when="there is no such experiment"))
        run["experiment_id"] = EXPERIMENT_ID
    if config.schedule is None:
        return (*calls, Call("POST", f"{api}/runs", run))
    if config.namespace is not None:
        run["namespace"] = config.namespace
    recurring = {
        **run,
        "display_name": schedule_name(labels["conveyor-line"]),
        # KFP's cron has seconds in front, and takes five fields for the first five of them.
        "trigger": {"cron_schedule": {"cron": f"TZ={config.schedule.time_zone} 0 {config.schedule.cron}"}},
        "max_concurrency": str(config.schedule.max_concurrent_run_count),
        "mode": "ENABLE",
        "no_catchup": True,
    }
    return (*calls, Call("POST", f"{api}/recurringruns", recurring))
