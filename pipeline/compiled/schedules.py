"""Has a line a schedule already? With a second one its runs would overlap, which each of them only forbids itself."""

from __future__ import annotations

import json
from typing import Any

from components.vertex_ai import CALL_SECONDS, VertexPlace, told_as_submission_error, vertex_client
from pipeline.compiled.problems import Problem
from pipeline.compiled.submission import schedule_name
from schema.errors import SubmissionError
from schema.orchestration import OrchestrationConfig

KEY = "orchestration.schedule"


def vertex_schedule_problems(line: str, config: OrchestrationConfig, credentials: Any) -> list[Problem]:
    """Asks Vertex AI for schedules of a line that are active or paused.

    Args:
        line: the line's name.
        config: the `orchestration` section.
        credentials: who asks.
    """
    place, name = VertexPlace.of_config(config), schedule_name(line)
    client = vertex_client("ScheduleServiceClient", place, credentials)
    request = {"parent": place.parent, "filter": f'display_name="{name}"'}
    try:
        with told_as_submission_error(f"asking {place.api} for schedules", "try again"):
            found = [
                one.name
                for one in client.list_schedules(request=request, timeout=CALL_SECONDS)
                if one.display_name == name and one.state.name != "COMPLETED"
            ]
    except SubmissionError as error:
        return [Problem(KEY, f"{error.args[0]}", error.hint, config=False)]
    hint = "delete it (in the console, Pipelines, Schedules), or leave orchestration.schedule out for a single run"
    return [_taken(line, one, hint) for one in found]


def kubeflow_schedule_problems(line: str, config: OrchestrationConfig, headers: dict[str, str]) -> list[Problem]:
    """Asks Kubeflow Pipelines for recurring runs of a line.

    Args:
        line: the line's name.
        config: the `orchestration` section; `endpoint` must be set.
        headers: of each call.
    """
    import httpx

    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": schedule_name(line)}
    query = {"filter": json.dumps({"predicates": [predicate]})}
    if config.namespace is not None:
        query["namespace"] = config.namespace
    url = f"{config.endpoint}/apis/v2beta1/recurringruns"
    try:
        answer = httpx.get(url, params=query, headers=headers, timeout=CALL_SECONDS)
        answer.raise_for_status()
        found = answer.json().get("recurringRuns", [])
    except (httpx.HTTPError, ValueError) as error:
        return [Problem(KEY, f"{url} must answer. Got {type(error).__name__}: {error} instead", "try again", False)]
    hint = "delete it (in KFP's pages, Recurring Runs), or leave orchestration.schedule out for a single run"
    return [_taken(line, one["recurring_run_id"], hint) for one in found]


def _taken(line: str, found: str, hint: str) -> Problem:
    return Problem(KEY, f"the line {line} must have no schedule yet. Got {found} instead", hint, config=False)
