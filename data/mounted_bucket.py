"""Buckets as folders: components read and write files, and a bucket is mounted where they run.

Vertex AI mounts Cloud Storage at `/gcs` in every step, so `gs://BUCKET/x` is the folder `/gcs/BUCKET/x` there. On other
machines a bucket, or any volume that all share, is mounted likewise; `CONVEYOR_GCS_MOUNT` names another folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schema.errors import ConfigError

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


def mounted_folder(uri: str, env: Mapping[str, str], key: str) -> str:
    """Returns a URI as a path, as `as_folder` does, once its bucket is seen to be mounted.

    Args:
        uri: `gs://BUCKET/...`, or a path.
        env: the environment.
        key: what named it: a config key or a variable.

    Raises:
        ConfigError: the bucket is not mounted, or the scheme is another one.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    if scheme + separator != SCHEME:
        raise ConfigError(
            f"{key} must be a folder or gs://BUCKET/FOLDER. Got {uri!r} instead",
            hint="mount it, and name the folder that it is mounted at",
        )
    bucket = Path(mount(env)) / rest.partition("/")[0]
    if not bucket.is_dir():
        raise ConfigError(
            f"{key} must be in a bucket that is mounted at {bucket}. Got {uri!r} instead, and no such folder",
            hint=f"gcsfuse {bucket.name} {bucket}, or say by {MOUNT_VARIABLE} where buckets are mounted",
        )
    return as_folder(uri, env)


def as_uri(path: str, mounted: str) -> str | None:
    """Returns a path as the URI of what is in the bucket, or None for a path that is in none.

    Args:
        path: a path.
        mounted: the folder that buckets are mounted in.
    """
    inside = path.removeprefix(f"{mounted}/")
    return f"{SCHEME}{inside}" if inside != path else None
