"""Is the bucket of the pipeline root there, may it be written to, and is it where the pipeline runs?"""

from __future__ import annotations

from typing import Any

from pipeline.compiled.problems import Problem

KEY = "orchestration.pipeline_root"
_NEEDED = ("storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list")
_CONTINENTS = {"EU": "europe-", "US": "us-", "ASIA": "asia-"}
_DUAL = {
    "EUR4": ("europe-north1", "europe-west4"),
    "NAM4": ("us-central1", "us-east1"),
    "ASIA1": ("asia-northeast1", "asia-northeast2"),
}


def bucket_problems(
    pipeline_root: str, project: str | None, region: str | None, credentials: Any
) -> tuple[list[Problem], list[str]]:
    """Looks at the bucket of a pipeline root.

    Args:
        pipeline_root: `gs://BUCKET/FOLDER`.
        project: the project that asks.
        region: where the pipeline runs, if that is known.
        credentials: who asks.

    Returns:
        What is wrong, and what could not be looked at.
    """
    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth
    from google.cloud import storage

    name = pipeline_root.removeprefix("gs://").partition("/")[0]
    client = storage.Client(project=project, credentials=credentials)
    notes: list[str] = []
    problems: list[Problem] = []
    try:
        granted = client.bucket(name).test_iam_permissions(list(_NEEDED))
        lacking = sorted(set(_NEEDED) - set(granted))
        if lacking:
            text = f"the bucket {name} must be readable and writable. Got no {', '.join(lacking)} instead"
            hint = "get the role storage.objectAdmin on it, or name another bucket"
            problems.append(Problem(KEY, text, hint, config=False))
        if region is not None:
            try:
                problems += _location(name, client.get_bucket(name), region)
            except exceptions.Forbidden:
                notes.append(f"{KEY}: you may not see where the bucket {name} is, so its location was not looked at")
    except exceptions.NotFound:
        text = f"must name a bucket that is there. Got {pipeline_root!r} instead: there is no bucket {name}"
        hint = f"make it (gcloud storage buckets create gs://{name}), or correct the name"
        problems.append(Problem(KEY, text, hint))
    except (
        exceptions.GoogleAPICallError,
        exceptions.RetryError,
        auth.GoogleAuthError,
        requests.RequestException,
    ) as error:
        text = f"Cloud Storage must say what the bucket {name} is. Got {str(error).splitlines()[0][:300]} instead"
        problems.append(Problem(KEY, text, "try again, or name a bucket that you may use", config=False))
    return problems, notes


def _location(name: str, bucket: Any, region: str) -> list[Problem]:
    location = str(bucket.location or "").upper()
    inside = [str(one).lower() for one in bucket.data_locations or _DUAL.get(location, ())]
    fits = (
        location.lower() == region
        or region in inside
        or (location in _CONTINENTS and region.startswith(_CONTINENTS[location]))
        or (location.lower() not in (region, "") and bucket.location_type == "dual-region" and not inside)
    )
    if fits:
        return []
    text = f"the bucket {name} must be in the region {region} of orchestration.region. Got {location} instead"
    return [Problem(KEY, text, "name a bucket in that region or its multi-region, or change orchestration.region")]
