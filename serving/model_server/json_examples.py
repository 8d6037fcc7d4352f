"""tf.Examples out of the JSON of a classify or regress request, serialized.

The type of a feature comes from its tokens: integers (and booleans) make an int64_list, decimals a float_list, strings
and `{"b64": …}` a bytes_list. Features stand in the order of their names. Wire format:
tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import sys
from array import array
from typing import Any, Literal

import numpy as np

from serving.model_server.errors import Code, ServingError
from serving.model_server.json_document import format_error
from serving.model_server.json_reader import Members
from serving.model_server.json_tensor import from_base64, is_base64_object
from serving.model_server.json_text import type_name
from serving.model_server.wire import varint, varints

Kind = Literal["bytes", "float", "int64"]

_INT64_MAX = 2**63 - 1
_UINT64 = 2**64 - 1
# Up to so many numbers NumPy takes longer than they do.
_FEW = 16
# How the fields of these numbers begin, if a length follows.
_1, _2, _3 = b"\x0a", b"\x12", b"\x1a"
_SIZES = [bytes([size]) for size in range(128)]
_KINDS: dict[type, Kind] = {str: "bytes", bytes: "bytes", float: "float", int: "int64", bool: "int64"}


def examples(document: dict[str, Any]) -> list[bytes]:
    """Returns the serialized examples of a request, each with the request's `context` before it.

    Args:
        document: the request.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise format_error(document, "When method is classify, key 'examples' is expected and was not found")
    items = document["examples"]
    if not isinstance(items, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not items:
        raise format_error(document, "'examples' value is an empty array")
    # Messages that are written one after the other merge, which is how TensorFlow Serving adds the context.
    return [context + _example(item) for item in items]


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise _error(f"Example must be JSON object but got JSON {type_name(value)}")
    pairs = value.pairs if isinstance(value, Members) else value.items()
    # Of a name that comes twice, the last one counts here, unlike everywhere else in a request.
    features = {name: _feature(name, content) for name, content in pairs}
    entries = []
    for name in sorted(features):
        key = _field(_1, name.encode("utf-8", "surrogateescape"))
        entries.append(_field(_1, key + _field(_2, features[name])))
    return _field(_1, b"".join(entries))


def _feature(name: str, content: Any) -> bytes:
    values = content if isinstance(content, list) else [content]
    types = set(map(type, values))
    if types - {int, float, str} or len(types) > 1 or (types == {int} and max(values) > _INT64_MAX):
        values = _checked(name, values)
    if not values:
        return b""
    kind = _KINDS[type(values[0])]
    if kind == "bytes":
        texts = [v if isinstance(v, bytes) else v.encode("utf-8", "surrogateescape") for v in values]
        return _field(_1, b"".join([_field(_1, text) for text in texts]))
    if kind == "float":
        # What is too large becomes infinity; NumPy would warn of it.
        singles = array("f", values)
        if sys.byteorder == "big":
            singles.byteswap()
        return _field(_2, _field(_1, singles.tobytes()))
    if len(values) <= _FEW:
        return _field(_3, _field(_1, b"".join([varint(value & _UINT64) for value in values])))
    return _field(_3, _field(_1, varints(np.array(values, np.int64))))


def _field(key: bytes, content: bytes) -> bytes:
    """Returns a length-delimited field. (`wire.delimited` is not made for fields of a few bytes.)"""
    size = len(content)
    return key + (_SIZES[size] if size < 128 else varint(size)) + content


def _checked(name: str, values: list[Any]) -> list[Any]:
    """Returns values of one kind, base64 decoded, or raises at the first that is of none or of another one."""
    found: list[Any] = []
    for value in values:
        encoded = is_base64_object(value)
        kind = "bytes" if encoded else _KINDS.get(type(value))
        if kind is None:
            raise _error(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
        if found and _KINDS[type(found[0])] != kind:
            expected = _KINDS[type(found[0])]
            raise _error(f"Unexpected element type in feature: {name} expecting type: {expected}")
        if type(value) is int and value > _INT64_MAX:
            raise _error(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        found.append(from_base64(value) if encoded else value)
    return found


def _error(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
