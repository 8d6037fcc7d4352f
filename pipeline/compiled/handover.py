"""What a step leaves behind for the next ones: its artifacts, with all their properties, in a file beside them.

Kubeflow and Vertex know one artifact an output, and its properties as JSON. A window has an artifact a span, a baseline
may be none at all, and integers are to stay integers. So beside each output's folder stands a list of the artifacts
that were made of it (not in it: TFX reads the one file of a folder). A path within the folder is stored relative to it,
so that the folder can be mounted elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from data.whole_file import replace_text

SUFFIX = ".artifacts.json"
OUTPUT_FILE = "executor_output.json"
"""The executor output, in the folder of the step."""


def artifact_id(uri: str) -> int:
    """Returns an id for an artifact: the same in every step, since there is no ML Metadata store to number them."""
    return int.from_bytes(hashlib.sha256(uri.encode()).digest()[:7], "big")


def leave(folder: Path, artifacts: list[Any]) -> None:
    """Writes the artifacts that were made of an output.

    Args:
        folder: the output's folder.
        artifacts: ML Metadata Artifact protos; their URIs are paths.
    """
    from google.protobuf import json_format

    entries = []
    for artifact in artifacts:
        entry = json_format.MessageToDict(artifact)
        entry["uri"] = _relative(artifact.uri, folder)
        for field in ("id", "typeId", "type"):
            entry.pop(field, None)
        entries.append(entry)
    replace_text(_path(folder), json.dumps({"artifacts": entries}, indent=2, sort_keys=True) + "\n")


def take(folder: Path) -> list[Any] | None:
    """Returns the artifacts of an output, or None if no step of ours has made it.

    Args:
        folder: the output's folder.

    Returns:
        ML Metadata Artifact protos without a type; their URIs are paths.
    """
    from google.protobuf import json_format
    from ml_metadata.proto import metadata_store_pb2

    path = _path(folder)
    if not path.is_file():
        return None
    artifacts = []
    for entry in json.loads(path.read_text(encoding="utf-8"))["artifacts"]:
        proto = json_format.ParseDict(entry, metadata_store_pb2.Artifact())
        proto.uri = os.path.normpath(folder / proto.uri)
        proto.id = artifact_id(proto.uri)
        artifacts.append(proto)
    return artifacts


def _path(folder: Path) -> Path:
    return folder.with_name(folder.name + SUFFIX)


def _relative(uri: str, folder: Path) -> str:
    path = Path(uri)
    return os.path.relpath(path, folder) if path == folder or folder in path.parents else str(path)
