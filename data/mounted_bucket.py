"""Buckets as folders: components read and write files, and a bucket is mounted where they run.

Vertex AI mounts Cloud Storage at `/gcs` in every step, so `gs://BUCKET/x` is the folder `/gcs/BUCKET/x` there. On other
machines a bucket, or any volume that all share, is mounted likewise; `CONVEYOR_GCS_MOUNT` names another folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MOUNT_VARIABLE = "CONVEYOR_GCS_MOUNT"
DEFAULT_MOUNT = "/gcs"
SCHEME = "gs://"


def mount(env: Mapping[str, str]) -> str:
    """Returns the folder that buckets are mounted in.

    Args:
        env: the environment.
    """
    return env.get(MOUNT_VARIABLE, DEFAULT_MOUNT).rstrip("/")


def as_folder(uri: str, env: Mapping[str, str]) -> str:
    """Returns a URI as a path: below the mount where it is in a bucket, as it is otherwise.

    Args:
        uri: `gs://BUCKET/...`, or a path.
        env: the environment.
    """
    return str(Path(mount(env)) / uri.removeprefix(SCHEME)) if uri.startswith(SCHEME) else uri


def as_uri(path: str, mounted: str) -> str | None:
    """Returns a path as the URI of what is in the bucket, or None for a path that is in none.

    Args:
        path: a path.
        mounted: the folder that buckets are mounted in.
    """
    inside = path.removeprefix(f"{mounted}/")
    return f"{SCHEME}{inside}" if inside != path else None
