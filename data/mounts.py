"""Remote storage as folders: components read and write files, and a bucket or a cluster's storage is mounted for them.

Vertex AI mounts Cloud Storage at `/gcs` in every step, so `gs://BUCKET/x` is the folder `/gcs/BUCKET/x` there. Any
other scheme goes the same way: `s3://BUCKET/x` is `/s3/BUCKET/x`, `hdfs://HOST/x` is `/hdfs/HOST/x`. A variable for
each scheme, `CONVEYOR_GCS_MOUNT`, `CONVEYOR_S3_MOUNT` …, names another folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from schema.errors import ConfigError

SCHEMES = ("gs", "s3", "hdfs", "azfs")
"""Those that Beam has a file system for, so that workers without the mount can fetch and put files by themselves."""

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def mount_variable(scheme: str) -> str:
    """Returns the environment variable that says where a scheme's storage is mounted."""
    name = {"gs": "gcs"}.get(scheme, re.sub(r"[^a-z0-9]", "_", scheme))
    return f"CONVEYOR_{name.upper()}_MOUNT"


def mount(env: Mapping[str, str], scheme: str = "gs") -> str:
    """Returns the folder that a scheme's storage is mounted in.

    Args:
        env: the environment.
        scheme: the part of a URI before `://`, in lower case.
    """
    default = {"gs": "/gcs"}.get(scheme, f"/{scheme}")
    return env.get(mount_variable(scheme), default).rstrip("/")


def mounts(env: Mapping[str, str]) -> dict[str, str]:
    """Returns scheme to mount folder for all that Beam has a file system for."""
    return {scheme: mount(env, scheme) for scheme in SCHEMES}


def as_folder(uri: str, env: Mapping[str, str]) -> str:
    """Returns a URI as a path: below its scheme's mount, or as it is where it has no scheme.

    Args:
        uri: `SCHEME://BUCKET/...`, `file:///...`, or a path.
        env: the environment.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        return uri
    scheme, rest = found[1].lower(), found[2]
    return rest if scheme == "file" else str(Path(mount(env, scheme)) / rest.lstrip("/"))


def mounted_folder(uri: str, env: Mapping[str, str], key: str) -> str:
    """Returns a URI as a path, as `as_folder` does, once its bucket is seen to be mounted.

    Args:
        uri: `SCHEME://BUCKET/...`, `file:///...`, or a path.
        env: the environment.
        key: what named it: a config key or a variable.

    Raises:
        ConfigError: the bucket is not mounted, or the URI names none or leads out of it.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        return uri
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigError(f"{key} must be file:///FOLDER, of this machine. Got {uri!r} instead")
        return rest
    name, *inside = rest.split("/")
    if not name or ".." in (name, *inside):
        raise ConfigError(f"{key} must be a folder, or {scheme}://BUCKET/FOLDER without `..`. Got {uri!r} instead")
    bucket = Path(mount(env, scheme)) / name
    if not bucket.is_dir():
        tool = {"gs": "gcsfuse", "s3": "mount-s3"}.get(scheme)
        raise ConfigError(
            f"{key} must be in a bucket that is mounted at {bucket}. Got {uri!r} instead, and no such folder",
            hint=f"{f'{tool} {name} {bucket}' if tool else 'mount it there'}, or say by {mount_variable(scheme)} "
            f"where {scheme}:// is mounted",
        )
    return as_folder(uri, env)


def as_uri(path: str, mounted: Mapping[str, str]) -> str | None:
    """Returns a path as the URI of what is in the bucket, or None for a path that is in none.

    Args:
        path: a path.
        mounted: scheme to the folder that its storage is mounted in.
    """
    for scheme, folder in mounted.items():
        inside = path.removeprefix(f"{folder}/")
        if inside != path:
            return f"{scheme}://{inside}"
    return None
