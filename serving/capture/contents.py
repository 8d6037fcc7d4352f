"""Requests and answers of captured records as JSON values, for people and for `jq`.

Texts are texts, and bytes that are none are `{"b64": …}`. NaN and the infinities, for which JSON has nothing, are the
texts "NaN", "Infinity" and "-Infinity". A serialized tf.Example is an object of its features, each a list.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from serving import messages
from serving.capture.redaction import EXAMPLE_KEYS
from serving.model_server.errors import ServingError
from serving.model_server.tensor_codec import to_array


def inputs(log: Any) -> dict[str, Any]:
    """Returns what was asked.

    Args:
        log: a `serving.messages.PredictionLog`.

    Returns:
        Predict: input key to value; the others: `examples`, and `context` where there is one.
    """
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        return {
            key: _tensor(tensor, examples=key in EXAMPLE_KEYS)
            for key, tensor in _sorted(log.predict_log.request.inputs)
        }
    if kind not in ("classify_log", "regress_log", "multi_inference_log"):
        return {}
    given = getattr(log, kind).request.input
    if given.WhichOneof("kind") == "example_list_with_context":
        listed = given.example_list_with_context
        return {"context": _example(listed.context), "examples": [_example(example) for example in listed.examples]}
    return {"examples": [_example(example) for example in given.example_list.examples]}


def outputs(log: Any) -> dict[str, Any]:
    """Returns what was answered: for Predict, output key to value; otherwise `classifications`, `regressions`.

    Args:
        log: a `serving.messages.PredictionLog`.
    """
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        return {key: _tensor(tensor) for key, tensor in _sorted(log.predict_log.response.outputs)}
    if kind == "multi_inference_log":
        results = log.multi_inference_log.response.results
        return {result.model_spec.signature_name: _result(result) for result in results}
    if kind in ("classify_log", "regress_log"):
        return _result(getattr(log, kind).response.result)
    return {}


def rows(log: Any) -> int | None:
    """Returns how many rows a request had, or None when that cannot be told.

    Args:
        log: a `serving.messages.PredictionLog`.
    """
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        sizes = [
            tensor.tensor_shape.dim[0].size if tensor.tensor_shape.dim else 1
            for tensor in log.predict_log.request.inputs.values()
        ]
        return max(sizes, default=None)
    if kind not in ("classify_log", "regress_log", "multi_inference_log"):
        return None
    given = getattr(log, kind).request.input
    return len(getattr(given, given.WhichOneof("kind")).examples) if given.WhichOneof("kind") else None


def _sorted(tensors: Any) -> list[tuple[str, Any]]:
    return sorted(tensors.items())


def _result(message: Any) -> dict[str, Any]:
    """Returns a ClassificationResult or RegressionResult, or an InferenceResult that has one of them."""
    fields = message.DESCRIPTOR.fields_by_name
    if "result" in message.DESCRIPTOR.oneofs_by_name:
        kind = message.WhichOneof("result")
        return _result(getattr(message, kind)) if kind else {}
    if "regressions" in fields:
        return {"regressions": [_value(np.float32(item.value)) for item in message.regressions]}
    return {
        "classifications": [
            [{"label": one.label, "score": _value(np.float32(one.score))} for one in item.classes]
            for item in message.classifications
        ]
    }


def _tensor(tensor: Any, examples: bool = False) -> Any:
    try:
        array = to_array(tensor)
    except ServingError as e:
        return {"unreadable": e.message}
    flat = [_value(value, examples) for value in array.reshape(-1)]
    for size in reversed(array.shape[1:]):
        flat = [flat[at : at + size] for at in range(0, len(flat), size)] if size else []
    return flat if array.ndim else flat[0]


def _value(value: Any, example: bool = False) -> Any:
    if isinstance(value, bytes):
        return _serialized(value) if example else _text(value)
    # As text it is the shortest decimal number that is the same float of that width.
    plain = float(str(value)) if isinstance(value, np.floating) else value.item()
    if isinstance(plain, float) and not math.isfinite(plain):
        return "NaN" if math.isnan(plain) else "Infinity" if plain > 0 else "-Infinity"
    return plain if isinstance(plain, (bool, int, float)) else str(plain)


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _serialized(value: bytes) -> Any:
    try:
        return _example(messages.Example.FromString(value))
    except DecodeError:
        return _text(value)


def _example(example: Any) -> Mapping[str, Any]:
    found = {}
    for name, feature in _sorted(example.features.feature):
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else ()
        if kind == "bytes_list":
            found[name] = [_text(value) for value in values]
        elif kind == "float_list":
            found[name] = [_value(np.float32(value)) for value in values]
        else:
            found[name] = list(values)
    return found
