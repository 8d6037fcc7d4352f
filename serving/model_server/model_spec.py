"""`tensorflow.serving.ModelSpec`: which model a request asks for, and which one has answered."""

from __future__ import annotations

import functools
from typing import Any

from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.wire import delimited, varint

DEFAULT_SIGNATURE = "serving_default"


def query_of(spec: Any) -> ModelSpecQuery:
    """Returns what a ModelSpec asks for.

    Raises:
        ServingError: INVALID_ARGUMENT; it has no name.
    """
    if not spec.name:
        raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    if choice is None:
        return ModelSpecQuery(spec.name)
    if choice == "version":
        return ModelSpecQuery(spec.name, version=spec.version.value)
    return ModelSpecQuery(spec.name, label=spec.version_label)


def spec_of(request: Any) -> Any:
    """Returns a request's ModelSpec.

    Raises:
        ServingError: INVALID_ARGUMENT; it has none.
    """
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
    return request.model_spec


def fill_spec(spec: Any, name: str, signature: str, version: int) -> None:
    """Writes which version and which signature has answered into an empty ModelSpec."""
    spec.MergeFromString(spec_bytes(name, signature, version))


@functools.lru_cache(maxsize=1024)
def spec_bytes(name: str, signature: str, version: int) -> bytes:
    """Returns a serialized ModelSpec: what `fill_spec` writes."""
    value = b"\x08" + varint(version) if version else b""
    return delimited(1, name.encode()) + delimited(2, value) + delimited(3, (signature or DEFAULT_SIGNATURE).encode())
