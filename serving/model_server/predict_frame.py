"""What Predict requests of one client have in common: everything but the values of their tensors.

Parsing a request and making arrays of its tensors takes longer than running a small model. So the bytes of an earlier
request around its values are kept as a frame. A later request with the same bytes around values of its own, and with
lengths that are right for these, has the same meaning; it is read in a tenth of the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.model_server import tensor_types
from serving.model_server.tensor_codec import to_array
from serving.model_server.wire import fields

_MAX_BYTES = 4096
"""A frame is no longer than this."""

_INPUTS, _KEY, _TENSOR, _TENSOR_CONTENT = 2, 1, 2, 4
_DELIMITED = 2
_INPUTS_TAG, _KEY_TAG, _TENSOR_TAG = (number << 3 | _DELIMITED for number in (_INPUTS, _KEY, _TENSOR))
# Fields of a TensorProto that hold values.
_VALUES = frozenset({_TENSOR_CONTENT, *range(5, 14), 16, 17})
# A length that is right for no request.
_TOO_LONG = 1 << 40


@dataclasses.dataclass(frozen=True)
class _Input:
    """An input; `tensor` is what comes in its tensor before the length of its values."""

    key: bytes
    name: str
    tensor: bytes
    dtype: np.dtype
    shape: tuple[int, ...]
    nbytes: int
    layout: tensor_types.Layout


Values = list[Any]
"""The values of a request's inputs, in the frame's order: an int, a text, or the bytes of an array."""


class Frame:
    """The bytes that requests have in common.

    Args:
        prefix: what comes before the inputs.
        inputs: the inputs. A request may have them in any order: so do the maps of most languages.
        suffix: what comes after them.

    Attributes:
        keys: the inputs' keys.
        rows: the largest first dimension of the inputs.
        by_row: whether each input has `rows` rows.
    """

    def __init__(self, prefix: bytes, inputs: list[_Input], suffix: bytes) -> None:
        self._prefix = prefix
        self._suffix = suffix
        self._inputs = inputs
        # By what begins an input, up to the length of its tensor.
        self._heads = {
            bytes([_KEY_TAG, len(one.key), *one.key, _TENSOR_TAG]): (
                place,
                one.tensor,
                len(one.tensor),
                one.nbytes if one.layout == "fixed" else -1,
                8 * one.dtype.itemsize if one.layout == "varint" else 0,
            )
            for place, one in enumerate(inputs)
        }
        self.keys = frozenset(one.name for one in inputs)
        shapes = [one.shape for one in inputs]
        self.rows = max((shape[0] for shape in shapes if shape), default=1)
        self.by_row = all(shape[:1] == (self.rows,) for shape in shapes)

    def read(self, raw: bytes) -> Values | None:
        """Returns the values in a serialized request, or None if it has not this frame."""
        if not raw.startswith(self._prefix):
            return None
        at = len(self._prefix)
        count = len(self._inputs)
        values: Values = [None] * count
        try:
            # Small steps, and few calls: this runs for every input of every request.
            for _ in range(count):
                if raw[at] != _INPUTS_TAG:
                    return None
                length = raw[at + 1]
                at += 2
                if length > 0x7F:
                    length, at = _length(raw, at - 1)
                end = at + length
                tensor_at = at + 3 + raw[at + 1]
                found = self._heads.get(raw[at:tensor_at])
                if found is None:
                    return None
                place, tensor, skipped, nbytes, bits = found
                length = raw[tensor_at]
                at = tensor_at + 1
                if length > 0x7F:
                    length, at = _length(raw, tensor_at)
                if at + length != end or not raw.startswith(tensor, at):
                    return None
                at += skipped
                length = raw[at]
                at += 1
                if length > 0x7F:
                    length, at = _length(raw, at - 1)
                if at + length != end or (nbytes >= 0 and length != nbytes):
                    return None
                value: Any = raw[at:end]
                if bits:
                    value = _integer(value, bits)
                    if value is None:
                        return None
                values[place] = value
                at = end
        except IndexError:
            return None
        if at + len(self._suffix) != len(raw) or not raw.endswith(self._suffix) or None in values:
            return None
        return values

    def arrays(self, requests: Sequence[Values]) -> dict[str, np.ndarray]:
        """Returns the inputs of requests with this frame, one below the other.

        Args:
            requests: their values; if there are several, the frame must be `by_row`.

        Returns:
            Input key to array.
        """
        arrays = {}
        for place, one in enumerate(self._inputs):
            column = [values[place] for values in requests]
            if one.layout == "fixed":
                array = np.frombuffer(b"".join(column), one.dtype)
            else:
                array = np.empty(len(column), one.dtype)
                array[:] = column
            shape = one.shape if len(column) == 1 else (len(column) * self.rows, *one.shape[1:])
            arrays[one.name] = array.reshape(shape)
        return arrays


def frame_of(raw: bytes, request: Any) -> Frame | None:
    """Makes the frame of a request.

    Args:
        raw: the serialized request.
        request: the PredictRequest that it is.

    Returns:
        The frame; None where an input's value is not just its bytes in the one field that is the tensor's last, such as
        a value that stands for several, several integers in a typed field, or several strings.
    """
    entries = []
    try:
        for number, kind, start, end in fields(raw, 0, len(raw)):
            if number == _INPUTS and kind == _DELIMITED:
                entries.append((start, end))
    except ValueError:
        return None
    inputs: list[_Input] = []
    suffix_at = prefix_at = len(raw)
    for i, (start, end) in enumerate(entries):
        one = _input(raw, start, end, request)
        if one is None or one.key in {other.key for other in inputs}:
            return None
        tag_at = _tag_at(start, end - start)
        if i == 0:
            prefix_at = tag_at
        elif tag_at != suffix_at:
            # Something lies between two inputs.
            return None
        inputs.append(one)
        suffix_at = end
    prefix, suffix = raw[:prefix_at], raw[suffix_at:]
    if not inputs or sum(len(one.key) + len(one.tensor) for one in inputs) + len(prefix) + len(suffix) > _MAX_BYTES:
        return None
    frame = Frame(prefix, inputs, suffix)
    values = frame.read(raw)
    if values is None:
        return None
    # Whatever else is unusual about the request: then its frame does not read it as the parser does.
    read = frame.arrays([values])
    return frame if all(_same(read[key], to_array(request.inputs[key])) for key in read) else None


def _input(raw: bytes, start: int, end: int, request: Any) -> _Input | None:
    parts = list(fields(raw, start, end))
    if [(number, kind) for number, kind, _, _ in parts] != [(_KEY, _DELIMITED), (_TENSOR, _DELIMITED)]:
        return None
    (_, _, key_start, key_end), (_, _, tensor_start, tensor_end) = parts
    held = list(fields(raw, tensor_start, tensor_end))
    if not held or [field[0] for field in held if field[0] in _VALUES] != [held[-1][0]] or held[-1][1] != _DELIMITED:
        return None
    field, _, value_start, value_end = held[-1]
    key = raw[key_start:key_end]
    name = key.decode()
    array = to_array(request.inputs[name])
    kind = tensor_types.by_dtype(array.dtype)
    if kind is None or not array.size or field not in (_TENSOR_CONTENT, kind.field_number):
        return None
    if kind.name == "bool" or (field == _TENSOR_CONTENT and kind.layout == "string"):
        # Bytes that are neither 0 nor 1; lengths within the value.
        return None
    layout = "fixed" if field == _TENSOR_CONTENT else kind.layout
    if layout == "varint" and (kind.name not in ("int32", "int64") or array.size != 1):
        return None
    if layout == "bits" or (layout == "string" and array.size != 1):
        return None
    if len(key) > 0x7F:
        return None
    tensor = raw[tensor_start : _tag_at(value_start, value_end - value_start) + 1]
    return _Input(key, name, tensor, array.dtype, array.shape, array.nbytes, layout)


def _tag_at(start: int, length: int) -> int:
    """Returns where the field begins whose content is at `start`, given a tag of one byte and a plain length."""
    return start - (2 if length < 0x80 else 3 if length < 0x4000 else 4)


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """Reads a length of up to three bytes."""
    length = raw[at]
    if length < 0x80:
        return length, at + 1
    length = length & 0x7F | raw[at + 1] << 7
    if length < 0x4000:
        return length, at + 2
    length = length & 0x3FFF | raw[at + 2] << 14
    return (length if length < 0x200000 else _TOO_LONG), at + 3


def _integer(value: bytes, bits: int) -> int | None:
    """Returns the number that is the one varint in a value, cut to so many bits and signed; None if it is not one."""
    if len(value) == 1 and value[0] < 0x80:
        return value[0]
    if not 0 < len(value) <= 10 or value[-1] > 0x7F:
        return None
    number = shift = 0
    for byte in value[:-1]:
        if byte < 0x80:
            return None
        number |= (byte & 0x7F) << shift
        shift += 7
    number = (number | value[-1] << shift) & ((1 << bits) - 1)
    return number - (1 << bits) if number >> (bits - 1) else number


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tolist() == other.tolist() if one.dtype.hasobject else one.tobytes() == other.tobytes()
