"""Buckets as folders: the steps' components read and write files, and a bucket is mounted where they run.

Vertex AI mounts Cloud Storage at `/gcs` in every step, so `gs://BUCKET/x` is the folder `/gcs/BUCKET/x` there. On other
clusters a bucket, or any volume that all steps share, is mounted likewise; `CONVEYOR_GCS_MOUNT` names another folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MOUNT_VARIABLE = "CONVEYOR_GCS_MOUNT"
DEFAULT_MOUNT = "/gcs"
_SCHEME = "gs://"


def as_folder(uri: str, env: Mapping[str, str]) -> str:
    """Returns a URI as a path: below the mount where it is in a bucket, as it is otherwise.

    Args:
        uri: `gs://BUCKET/...`, or a path.
        env: the environment.
    """
    if not uri.startswith(_SCHEME):
        return uri
    return str(Path(env.get(MOUNT_VARIABLE, DEFAULT_MOUNT)) / uri.removeprefix(_SCHEME))
