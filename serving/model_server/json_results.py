"""Answers of the REST API, laid out as TensorFlow Serving lays them out, down to the line breaks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.model_server.errors import Code, ServingError
from serving.model_server.json_tensor import Format, dtype_name
from serving.model_server.json_text import INDENT, decimals, encode, nested, nested_on_lines, string
from serving.model_server.tensor_types import by_dtype

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")


def prediction(outputs: Mapping[str, np.ndarray], form: Format) -> bytes:
    """Returns the answer to a predict request.

    Args:
        outputs: output key to array; a single one loses its name.
        form: `row` gives `predictions`, `columnar` gives `outputs`.

    Raises:
        ServingError: INVALID_ARGUMENT: there are no outputs, JSON cannot carry a dtype, or (row) the outputs are not
            all batches of one size.
    """
    if not outputs:
        raise _error("Cannot convert empty tensor map to JSON")
    return encode((_rows if form == "row" else _columns)(outputs))


def classification(results: Iterable[Sequence[tuple[str | bytes, float]]]) -> bytes:
    """Returns the answer to a classify request.

    Args:
        results: for each example, its labels with their float32 scores.

    Raises:
        ServingError: INVALID_ARGUMENT: there are none.
    """
    items = [list(result) for result in results]
    if not items:
        raise _error("Cannot convert empty ClassificationResults to JSON")
    scores = iter(decimals(np.array([score for item in items for _, score in item], np.float32)))
    texts = [f"[{', '.join(f'[{string(label)}, {next(scores)}]' for label, _ in item)}]" for item in items]
    return encode(_root("results", _on_one_line(texts)))


def regression(values: Sequence[float] | np.ndarray) -> bytes:
    """Returns the answer to a regress request.

    Args:
        values: float32 (n,).

    Raises:
        ServingError: INVALID_ARGUMENT: there are none.
    """
    if len(values) == 0:
        raise _error("Cannot convert empty RegressionResults to JSON")
    return encode(_root("results", f"[{', '.join(decimals(np.asarray(values, np.float32)))}]"))


def error(message: str) -> bytes:
    """Returns the answer to a request that failed."""
    return encode(_root("error", string(message)))


def model_status(statuses: Iterable[Any]) -> bytes:
    """Returns the answer to a status request.

    Args:
        statuses: a `VersionStatus` a version, newest first.
    """
    versions = [
        {
            "version": str(status.version),
            "state": status.state.name,
            "status": {"error_code": status.code.name, "error_message": status.message},
        }
        for status in statuses
    ]
    return encode(json.dumps({"model_version_status": versions}, indent=1, ensure_ascii=False) + "\n")


def model_metadata(name: str, version: int, signatures: Mapping[str, Any]) -> bytes:
    """Returns the answer to a metadata request.

    Args:
        name: the model's.
        version: the one that was asked.
        signatures: signature key to its SignatureDef.
    """
    spec = {"name": name, "signature_name": "", "version": str(version)}
    defs = {key: message_values(signatures[key]) for key in sorted(signatures)}
    text = json.dumps(spec, indent=1, ensure_ascii=False)
    inner = json.dumps({"signature_def": defs}, indent=1, ensure_ascii=False)
    return encode(f'{{\n"model_spec":{text}\n,\n"metadata": {{"signature_def": {inner}\n}}\n}}\n')


def message_values(message: Any) -> dict[str, Any]:
    """Returns a protocol buffer as JSON values: original names, all defaults, 64-bit integers as strings."""
    from google.protobuf import json_format

    try:
        return json_format.MessageToDict(message, preserving_proto_field_name=True, including_default_value_fields=True)
    except TypeError:  # protobuf 5 renamed it
        return json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )


def _rows(outputs: Mapping[str, np.ndarray]) -> str:
    size = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise _error(f"Tensor name: {name} has no shape information ")
        if size not in (-1, len(array)):
            raise _error(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}")
        size = len(array)
    if len(outputs) == 1:
        [(name, array)] = outputs.items()
        return _root("predictions", _on_one_line(_batch(name, array, 2)))
    columns = [(string(name), _batch(name, array, 3)) for name, array in outputs.items()]
    between, end = f",\n{INDENT * 3}", f"\n{INDENT * 2}}}"
    rows = [
        f"{{\n{INDENT * 3}{between.join(f'{name}: {texts[index]}' for name, texts in columns)}{end}"
        for index in range(size)
    ]
    return _root("predictions", nested_on_lines(rows, [size], 1))


def _batch(name: str, array: np.ndarray, depth: int) -> list[str]:
    """Returns each element of a batch as text."""
    tokens = _tokens(name, array, depth + array.ndim - 1)
    if array.ndim == 1:
        return tokens
    if not len(array):
        return []
    each = len(tokens) // len(array)
    return [nested(tokens[at * each : (at + 1) * each], array.shape[1:]) for at in range(len(array))]


def _columns(outputs: Mapping[str, np.ndarray]) -> str:
    if len(outputs) == 1:
        [(name, array)] = outputs.items()
        return _root("outputs", nested_on_lines(_tokens(name, array, 1 + array.ndim), array.shape, 1))
    between = f",\n{INDENT * 2}"
    texts = [
        f"{string(name)}: {nested_on_lines(_tokens(name, array, 2 + array.ndim), array.shape, 2)}"
        for name, array in outputs.items()
    ]
    return _root("outputs", f"{{\n{INDENT * 2}{between.join(texts)}\n{INDENT}}}")


def _tokens(name: str, array: np.ndarray, depth: int) -> list[str]:
    """Returns the values of an array as text, in row-major order; `depth` is how many brackets are open around each."""
    flat = array.reshape(-1)
    kind = by_dtype(array.dtype)
    type_name = kind.name if kind else str(array.dtype)
    if type_name in ("float32", "float64"):
        return decimals(flat)
    if type_name in _INTEGERS:
        return list(map(str, flat.tolist()))
    if type_name == "bool":
        return ["true" if value else "false" for value in flat.tolist()]
    if type_name != "string":
        raise _error(f"Failed to write JSON value for tensor type: {dtype_name(type_name)}")
    texts = flat.tolist()
    if not name.endswith("_bytes"):
        return list(map(string, texts))
    before, after = f'{{\n{INDENT * (depth + 1)}"b64": "', f'"\n{INDENT * depth}}}'
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return [f"{before}{base64.b64encode(text).decode()}{after}" for text in raw]


def _on_one_line(texts: list[str]) -> str:
    """Returns an array on one line, but for its end: TensorFlow Serving's writer breaks the line there."""
    return f"[{', '.join(texts)}\n{INDENT}]" if texts else "[]"


def _root(name: str, text: str) -> str:
    return f'{{\n{INDENT}"{name}": {text}\n}}'


def _error(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
