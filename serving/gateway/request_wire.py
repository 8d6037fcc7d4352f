"""Requests and answers by gRPC, read on the wire as far as a gateway has to know them, and the version set in one.

Nothing is taken apart that is passed on: a request that names no version gets one by a few bytes at its end, for of a
message that comes twice within another the parts are joined.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from serving import messages
from serving.model_server.errors import ServingError
from serving.model_server.hooks import Entrypoint, ModelSpecQuery
from serving.model_server.model_spec import query_of
from serving.model_server.wire import delimited, fields, varint

METHODS: dict[str, tuple[Entrypoint, messages.Method]] = {
    messages.PREDICT.path: ("Predict", messages.PREDICT),
    messages.CLASSIFY.path: ("Classify", messages.CLASSIFY),
    messages.REGRESS.path: ("Regress", messages.REGRESS),
    messages.MULTI_INFERENCE.path: ("MultiInference", messages.MULTI_INFERENCE),
}
"""Path to entry point and messages, of the methods that run a model."""

_REQUESTS = {entrypoint: method.request for entrypoint, method in METHODS.values()}
# More than that are read by the protobuf library, which is quicker by the field and slower by the byte.
_MAX_FIELDS = 2000
_MAX_SPEC = 256
_Dim = messages.message_class("tensorflow.TensorShapeProto.Dim")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Attributes:
        query: the model, or None where it names none.
        signature: the signature that it names; empty for the default one.
        rows: the size of the largest first dimension of its inputs, or how many examples it has.
    """

    query: ModelSpecQuery | None
    signature: str
    rows: int


class _TooMany(Exception):
    """There are more fields than are to be read one by one."""


def read(entrypoint: Entrypoint, raw: bytes) -> Asked:
    """Returns what a request asks for.

    Args:
        entrypoint: the method.
        raw: the serialized request.

    Raises:
        ValueError: the bytes are no such request.
    """
    try:
        try:
            specs, rows = _scan(entrypoint, raw)
        except _TooMany:
            specs, rows = _parse(entrypoint, raw)
        spec = _known_spec(specs) if len(specs) <= _MAX_SPEC else _spec(specs)
    except DecodeError as error:
        raise ValueError(f"no {entrypoint} request: {error}") from error
    return Asked(*spec, rows)


def with_version(entrypoint: Entrypoint, raw: bytes, version: int) -> bytes:
    """Returns a request that asks for a version, whatever it has asked for.

    Args:
        entrypoint: the method.
        raw: the serialized request; it names a model.
        version: the version.

    Raises:
        ValueError: the bytes are no such request.
    """
    if entrypoint != "MultiInference":
        return raw + _chosen(version)
    try:
        request = messages.MultiInferenceRequest.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"no {entrypoint} request: {error}") from error
    for task in request.tasks:
        task.model_spec.version.value = version
    return bytes(request.SerializeToString())


def version_of(entrypoint: Entrypoint, answer: bytes) -> int | None:
    """Returns the version that an answer names, or None where it names none."""
    try:
        if entrypoint == "MultiInference":
            parts = (answer[start:end] for number, start, end in _parts(answer, 0, len(answer)) if number == 1)
            spec = _joined(next(parts, b""), 1)
        else:
            spec = _joined(answer, 2)
        value = _joined(spec, 2)
        return None if not spec else int(messages.Int64Value.FromString(value).value) if value else None
    except (ValueError, DecodeError):
        return None


@functools.lru_cache(maxsize=64)
def _chosen(version: int) -> bytes:
    return delimited(1, delimited(2, b"\x08" + varint(version)))


def _spec(raw: bytes) -> tuple[ModelSpecQuery | None, str]:
    spec = messages.ModelSpec.FromString(raw)
    try:
        return query_of(spec), spec.signature_name
    except ServingError:
        return None, spec.signature_name


_known_spec = functools.lru_cache(maxsize=1024)(_spec)


def _scan(entrypoint: Entrypoint, raw: bytes) -> tuple[bytes, int]:
    """Returns the model spec and the number of rows, read field by field."""
    budget = _Budget()
    specs, rows = [], 0
    for number, start, end in budget.fields(raw, 0, len(raw)):
        if number == 1:
            if entrypoint != "MultiInference":
                specs.append(raw[start:end])
            elif not specs:
                # The first task's stands for all.
                specs.append(_joined(raw[start:end], 1))
        elif number == 2 and entrypoint == "Predict":
            rows = max(rows, _tensor_rows(budget, raw, start, end))
        elif number == 2:
            for kind, first, last in budget.fields(raw, start, end):
                if kind in (1, 2):
                    rows = sum(1 for item, _, _ in budget.fields(raw, first, last) if item == 1)
    return b"".join(specs), rows


def _tensor_rows(budget: _Budget, raw: bytes, start: int, end: int) -> int:
    """Returns the size of the first dimension of a tensor in a map's entry; 0 where it has none."""
    for entry, tensor, tensor_end in budget.fields(raw, start, end):
        if entry != 2:
            continue
        for number, shape, shape_end in budget.fields(raw, tensor, tensor_end):
            if number != 2:
                continue
            for part, dim, dim_end in budget.fields(raw, shape, shape_end):
                if part == 2:
                    # A negative size is refused by whoever runs the model.
                    return int(_Dim.FromString(raw[dim:dim_end]).size)
    return 0


def _parse(entrypoint: Entrypoint, raw: bytes) -> tuple[bytes, int]:
    """Returns the model spec and the number of rows, read by the protobuf library."""
    request: Any = _REQUESTS[entrypoint].FromString(raw)
    spec = request.model_spec if entrypoint != "MultiInference" else None
    if entrypoint == "Predict":
        dims = [tensor.tensor_shape.dim for tensor in request.inputs.values()]
        rows = max((int(dim[0].size) for dim in dims if dim), default=0)
    else:
        kind = request.input.WhichOneof("kind")
        rows = len(getattr(request.input, kind).examples) if kind else 0
    if spec is None:
        spec = request.tasks[0].model_spec if request.tasks else messages.ModelSpec()
    return spec.SerializeToString(), rows


def _joined(raw: bytes, number: int) -> bytes:
    """Returns all parts of a message's field that is a message itself."""
    return b"".join(raw[start:end] for found, start, end in _parts(raw, 0, len(raw)) if found == number)


def _parts(raw: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    for number, kind, first, last in fields(raw, start, end):
        if kind == 2:
            yield number, first, last


class _Budget:
    """Goes through length-delimited fields, as long as they are few."""

    def __init__(self) -> None:
        self._left = _MAX_FIELDS

    def fields(self, raw: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        for number, kind, first, last in fields(raw, start, end):
            self._left -= 1
            if self._left < 0:
                raise _TooMany
            if kind == 2:
                yield number, first, last
