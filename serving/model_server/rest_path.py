"""What the path of a REST request names: a model, perhaps one version of it, and what to do with it."""

from __future__ import annotations

import dataclasses
import functools
import re
from urllib.parse import unquote

from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery

# Whole paths, queries included. Upper case matches too, but is not understood where a method is to be named.
_MODEL = r"/v1/models(?:/(?P<model>[^/:]+))"
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_FLAGS = re.IGNORECASE | re.ASCII
_API = re.compile(r"/v1/.*", _FLAGS)
_POST = re.compile(f"{_MODEL}{_VERSION}:(?P<action>classify|regress|predict)", _FLAGS)
_GET = re.compile(f"{_MODEL}?{_VERSION}(?:/(?P<action>metadata))?", _FLAGS)
_INT64_MAX = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Target:
    """What a path names.

    Attributes:
        model: the model's name; empty when there is none.
        version: digits, or empty.
        label: the version's label, or empty.
        action: `predict`, `classify` or `regress` (POST); `metadata` or empty (GET). As the path spells it.
    """

    model: str
    version: str
    label: str
    action: str

    def query(self) -> ModelSpecQuery:
        """Returns the model that is asked for.

        Raises:
            ServingError: INVALID_ARGUMENT; the version is no int64.
        """
        if not self.version:
            return ModelSpecQuery(self.model, label=self.label or None)
        if len(self.version.lstrip("0")) > 19 or int(self.version) > _INT64_MAX:
            raise ServingError(Code.INVALID_ARGUMENT, f"Failed to convert version: {self.version} to numeric.")
        return ModelSpecQuery(self.model, version=int(self.version))


def is_api(path: str) -> bool:
    """Returns whether a path belongs to the API; there is nothing at any other."""
    return _API.fullmatch(path) is not None


@functools.lru_cache(maxsize=256)
def target(method: str, path: str) -> Target | None:
    """Returns what a request is about, or None if TensorFlow Serving would not understand it.

    Args:
        method: the HTTP method.
        path: the path as it was sent, with its query.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        return None
    return Target(
        model=_decoded(match["model"]),
        version=match["version"] or "",
        label=_decoded(match["label"]),
        action=match["action"] or "",
    )


def _decoded(text: str | None) -> str:
    return unquote(text, errors="replace") if text else ""
