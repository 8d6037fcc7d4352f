"""Kubeflow Pipelines: its v2beta1 REST API, by httpx.

Not by `kfp-server-api`, its generated client: three calls are needed, `--dry-run` prints them as they are, and httpx is
here anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.compiled.problems import Problem
from pipeline.compiled.submission import EXPERIMENT_ID, Call
from schema.errors import SubmissionError
from schema.orchestration import OrchestrationConfig

CALL_SECONDS = 60.0
_SAID = 300


def headers(token: str | None) -> dict[str, str]:
    """Returns the headers of each call."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def kubeflow_problems(config: OrchestrationConfig, token: str | None) -> list[Problem]:
    """Returns what is wrong with the endpoint, the token and the namespace, by asking.

    Args:
        config: the `orchestration` section; `endpoint` must be set.
        token: the bearer token, if there is one.
    """
    import httpx

    api = f"{config.endpoint}/apis/v2beta1"
    hint = "orchestration.endpoint is the URL below which /apis/v2beta1/healthz answers"
    with httpx.Client(timeout=CALL_SECONDS, headers=headers(token)) as client:
        try:
            health = client.get(f"{api}/healthz")
            listed = client.get(f"{api}/experiments", params=_page(config))
        except httpx.HTTPError as error:
            text = f"{api} must answer. Got {type(error).__name__}: {error} instead"
            return [Problem("orchestration.endpoint", text, hint, config=False)]
    for answer in (health, listed):
        if answer.status_code in (401, 403) or answer.is_redirect:
            return [_refused(config, answer, token)]
    if health.status_code != 200 or not _is_json(health):
        said = f"HTTP {health.status_code}: {_said(health)}"
        text = f"{api}/healthz must answer as Kubeflow Pipelines does. Got {said} instead"
        return [Problem("orchestration.endpoint", text, hint, config=health.status_code < 500)]
    if listed.status_code != 200:
        text = f"{api}/experiments must answer. Got HTTP {listed.status_code}: {_said(listed)} instead"
        key = "namespace" if listed.status_code == 400 else "endpoint"
        needed = "a deployment for several users needs orchestration.namespace, one for a single user must not have it"
        return [Problem(f"orchestration.{key}", text, needed, config=listed.status_code == 400)]
    return []


def submit_to_kubeflow(calls: Sequence[Call], config: OrchestrationConfig, token: str | None) -> dict[str, str]:
    """Makes the calls of a submission.

    Args:
        calls: see `pipeline.compiled.submission.kubeflow_calls`.
        config: the `orchestration` section.
        token: the bearer token, if there is one.

    Returns:
        The id of the run or recurring run as `id`, and its page as `url`.

    Raises:
        SubmissionError: the service cannot be reached, or refuses.
    """
    import httpx

    experiment = None
    answer: Mapping[str, Any] = {}
    with httpx.Client(timeout=CALL_SECONDS, headers=headers(token)) as client:
        for call in calls:
            if call.when is not None and experiment is not None:
                continue
            body = call.body
            if body is not None and body.get("experiment_id") == EXPERIMENT_ID:
                body = {**body, "experiment_id": experiment}
            try:
                response = client.request(call.method, call.url, json=body)
            except httpx.HTTPError as error:
                raise SubmissionError(
                    f"orchestration.endpoint: {call.method} {call.url} must be answered. Got {type(error).__name__}: "
                    f"{error} instead",
                    hint="look in the list of runs before you try again: it may have been submitted all the same",
                ) from None
            if response.status_code != 200 or not _is_json(response):
                raise SubmissionError(
                    f"orchestration.endpoint: {call.method} {call.url} must succeed. Got HTTP {response.status_code}: "
                    f"{_said(response)} instead"
                )
            answer = response.json()
            if call is not calls[-1]:
                found = answer.get("experiments", []) if call.method == "GET" else [answer]
                experiment = found[0]["experiment_id"] if found else None
    if config.schedule is not None:
        identity = str(answer["recurring_run_id"])
        return {"id": identity, "url": f"{config.endpoint}/#/recurringrun/details/{identity}"}
    identity = str(answer["run_id"])
    return {"id": identity, "url": f"{config.endpoint}/#/runs/details/{identity}"}


def _page(config: OrchestrationConfig) -> dict[str, str]:
    return {"page_size": "1", **({"namespace": config.namespace} if config.namespace else {})}


def _refused(config: OrchestrationConfig, answer: Any, token: str | None) -> Problem:
    given = "a token that is refused" if token else "none"
    text = f"{config.endpoint} must be given a token that it accepts. Got {given} instead (HTTP {answer.status_code})"
    hint = "set orchestration.token: ${NAME}, and NAME in the environment to a valid bearer token"
    if answer.status_code == 403 and token:
        hint = "its user must be allowed to use Kubeflow Pipelines in orchestration.namespace"
    return Problem("orchestration.token", text, hint, config=False)


def _is_json(answer: Any) -> bool:
    return "json" in answer.headers.get("content-type", "")


def _said(answer: Any) -> str:
    text = " ".join(answer.text.split())
    return text[:_SAID] or "nothing"
