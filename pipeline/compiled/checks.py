"""What is looked at before a line is submitted: first the config by itself, then the services that it names."""

from __future__ import annotations

import ast
import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.vertex_ai import VertexPlace, google_credentials, vertex_client
from data.mounts import as_folder
from data.window import locate
from pipeline.compiled.buckets import bucket_problems
from pipeline.compiled.kubeflow import headers, kubeflow_problems
from pipeline.compiled.problems import Problem
from pipeline.compiled.registry import ImageName, image_problem
from pipeline.compiled.schedules import kubeflow_schedule_problems, vertex_schedule_problems
from schema.errors import SubmissionError
from schema.loading import LoadedLine
from schema.orchestration import OrchestrationConfig, Target, is_email

IAM_URL = "https://iam.googleapis.com"
_NEEDED = {
    "vertex": ("image", "pipeline_root", "project", "region"),
    "kubeflow": ("image", "pipeline_root", "endpoint"),
}
_WHAT = {
    "image": "the container image of the steps (deploy/Dockerfile)",
    "pipeline_root": "where artifacts go, gs://BUCKET/FOLDER",
    "project": "the Google Cloud project",
    "region": "its region, such as europe-west4",
    "endpoint": "the URL of Kubeflow Pipelines",
}


def config_problems(loaded: LoadedLine, target: Target, env: Mapping[str, str]) -> tuple[list[Problem], list[str]]:
    """Looks at the config without asking any service.

    Args:
        loaded: the line config.
        target: where it is to be submitted.
        env: the environment.

    Returns:
        What is wrong, and what to beware of.
    """
    config = loaded.line.orchestration
    problems = [
        Problem(
            f"orchestration.{key}", f"must be set to submit to {target}. Got nothing instead", f"set it to {_WHAT[key]}"
        )
        for key in _NEEDED[target]
        if getattr(config, key) is None
    ]
    if target == "vertex" and config.region is not None and config.region not in vertex_regions():
        known = ", ".join(sorted(vertex_regions()))
        text = f"must be a region of Vertex AI. Got {config.region!r} instead"
        problems.append(Problem("orchestration.region", text, f"the regions are {known}"))
    account = config.service_account
    if account is not None and is_email(account) != (target == "vertex"):
        wanted = {
            "vertex": "a service account's e-mail address",
            "kubeflow": "the name of a Kubernetes service account",
        }
        text = f"must be {wanted[target]} for {target}. Got {account!r} instead"
        problems.append(Problem("orchestration.service_account", text, "each target has an overlay of its own (--env)"))
    problems += _accelerator_problems(config)
    notes: list[str] = []
    if target == "vertex":
        mount = as_folder("gs://", env)
        examples = loaded.line.examples
        for key, given in (("examples.input", examples.input), ("examples.exclude_rows", examples.exclude_rows)):
            if given is None:
                continue
            if given.startswith("package:"):
                notes.append(f"{key}: {given} is found by the steps only if the image has it at the same path")
            elif not locate(given, loaded.base_dir, key).startswith(f"{mount}/"):
                text = f"must be below {mount}, where the steps have Cloud Storage. Got {given!r} instead"
                hint = f"put the data in a bucket, and name it {mount}/BUCKET/..."
                problems.append(Problem(key, text, hint))
    return problems, notes


def service_problems(loaded: LoadedLine, target: Target) -> tuple[list[Problem], list[str]]:
    """Asks the services that a config names whether they are there and let it in. Changes nothing.

    Args:
        loaded: the line config, its secrets looked up, in which `config_problems` has found none.
        target: where it is to be submitted.

    Returns:
        What is wrong, and what could not be looked at.
    """
    config = loaded.line.orchestration
    assert config.image is not None and config.pipeline_root is not None
    problems: list[Problem] = []
    notes: list[str] = []
    in_bucket = config.pipeline_root.startswith("gs://")
    credentials = None
    if target == "kubeflow":
        token = loaded.secrets.get("orchestration.token")
        problems += kubeflow_problems(config, token)
        if config.schedule is not None and not problems:
            problems += kubeflow_schedule_problems(loaded.line.name, config, headers(token))
    if target == "vertex" or in_bucket or ImageName.parse(config.image).at_google:
        try:
            credentials = google_credentials()
        except SubmissionError as error:
            text = str(error.args[0])
            if target == "vertex":
                problems.append(Problem("orchestration.project", text, error.hint, config=False))
            else:
                # The cluster has its own.
                notes.append(f"orchestration.pipeline_root: not looked at. {text}")
    if credentials is not None:
        if target == "vertex":
            problems += _vertex_problems(config, credentials)
            if config.schedule is not None and not problems:
                problems += vertex_schedule_problems(loaded.line.name, config, credentials)
            if config.service_account is not None:
                found, said = account_problems(config.service_account, credentials.token)
                problems, notes = [*problems, *found], [*notes, *said]
        if in_bucket:
            region = config.region if target == "vertex" else None
            found, said = bucket_problems(config.pipeline_root, config.project, region, credentials)
            problems, notes = [*problems, *found], [*notes, *said]
    problem, said_of_image = image_problem(config.image, getattr(credentials, "token", None))
    return [*problems, *([problem] if problem else [])], [*notes, *([said_of_image] if said_of_image else [])]


def vertex_regions() -> frozenset[str]:
    """Returns the regions of Vertex AI that google-cloud-aiplatform knows."""
    spec = importlib.util.find_spec("google.cloud.aiplatform")
    assert spec is not None and spec.origin is not None
    # Read, not imported: the package takes eight seconds to import, and this is one list of it.
    source = (Path(spec.origin).parent / "constants" / "base.py").read_text(encoding="utf-8")
    (known,) = (
        node.value.args[0]
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", None) == "SUPPORTED_REGIONS"
        and isinstance(node.value, ast.Call)
    )
    return frozenset(ast.literal_eval(known)) - {"global"}


def account_problems(email: str, token: str, iam_url: str | None = None) -> tuple[list[Problem], list[str]]:
    """Asks IAM whether a service account is there and may be used.

    Args:
        email: the service account.
        token: an access token.
        iam_url: where IAM is.

    Returns:
        What is wrong, and what could not be looked at.
    """
    import httpx

    key = "orchestration.service_account"
    needed = "iam.serviceAccounts.actAs"
    url = f"{iam_url or IAM_URL}/v1/projects/-/serviceAccounts/{email}:testIamPermissions"
    try:
        answer = httpx.post(
            url, json={"permissions": [needed]}, headers={"Authorization": f"Bearer {token}"}, timeout=30.0
        )
    except httpx.HTTPError as error:
        return [], [f"{key}: IAM did not answer ({type(error).__name__}), so {email} was not looked for"]
    if answer.status_code == 404:
        text = f"must be a service account that is there. Got {email!r} instead"
        return [Problem(key, text, "correct it, or make it (gcloud iam service-accounts create)")], []
    if answer.status_code != 200:
        return [], [f"{key}: IAM answered HTTP {answer.status_code}, so {email} was not looked for"]
    if needed not in answer.json().get("permissions", []):
        text = f"must be one that you may use. Got {email!r} instead: you lack {needed}"
        return [Problem(key, text, "get the role iam.serviceAccountUser on it", config=False)], []
    return [], []


def _accelerator_problems(config: OrchestrationConfig) -> list[Problem]:
    wanted = {node: one.accelerator_type for node, one in config.custom_jobs.items() if one.accelerator_type}
    if not wanted:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.cloud import aiplatform_v1
    known = sorted(one.name for one in aiplatform_v1.AcceleratorType if one.value)
    return [
        Problem(
            f"orchestration.custom_jobs.{node}.accelerator_type",
            f"must be an accelerator of Vertex AI. Got {given!r} instead",
            f"there are {', '.join(known)}",
        )
        for node, given in wanted.items()
        if given not in known
    ]


def _vertex_problems(config: OrchestrationConfig, credentials: Any) -> list[Problem]:
    import requests
    from google.api_core import exceptions

    place = VertexPlace.of_config(config)
    try:
        client = vertex_client("PipelineServiceClient", place, credentials)
        client.list_pipeline_jobs(request={"parent": place.parent, "page_size": 1}, timeout=30.0)
    except exceptions.Forbidden as error:
        text = f"must be a project in which you may use Vertex AI. Got {config.project!r} instead: {_said(error)}"
        hint = "correct it, enable aiplatform.googleapis.com there, or get the role aiplatform.user"
        return [Problem("orchestration.project", text, hint, config=False)]
    except exceptions.NotFound as error:
        text = f"must be a project that is there. Got {config.project!r} instead: {_said(error)}"
        return [Problem("orchestration.project", text, "`gcloud projects list` shows those that you may use")]
    except exceptions.Unauthenticated as error:
        text = f"Vertex AI must accept your credentials. Got {_said(error)} instead"
        return [Problem("orchestration.project", text, "gcloud auth application-default login", config=False)]
    except exceptions.BadRequest as error:
        text = f"must be a region of Vertex AI Pipelines. Got {config.region!r} instead: {_said(error)}"
        return [Problem("orchestration.region", text, "name another region")]
    except (exceptions.GoogleAPICallError, exceptions.RetryError, requests.RequestException) as error:
        key = "orchestration.api_endpoint" if config.api_endpoint else "orchestration.region"
        text = f"{place.api} must answer. Got {_said(error)} instead"
        return [Problem(key, text, "try again, or correct it", config=False)]
    return []


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
