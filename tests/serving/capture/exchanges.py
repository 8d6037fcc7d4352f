"""Exchanges for the tests of capture, made without a server."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving import messages
from serving.capture.hook import CaptureHook
from serving.capture.log_format import Record
from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange
from serving.model_server.tensor_codec import tensor_bytes

NOON = 1_790_000_000.5
"""2026-09-21T14:13:20.5Z."""
DATE = "2026-09-21"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What capture needs to know of a tensor of a signature."""

    dtype: str


@dataclasses.dataclass(frozen=True)
class Tensors:
    """What it needs to know of a signature."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


def strings(*values: str | bytes) -> np.ndarray:
    """Returns texts as an array."""
    array = np.empty(len(values), object)
    array[:] = [value.encode() if isinstance(value, str) else value for value in values]
    return array


def example(**features: Any) -> Any:
    """Returns a tf.Example, e.g. `example(fare=[1.5], company=["Blue"], trips=[3])`."""
    message = messages.Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if not values:
            feature.SetInParent()
        elif isinstance(values[0], str):
            feature.bytes_list.value.extend(value.encode() for value in values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return message


def predict_request(signature: str = "serving_raw", **inputs: np.ndarray) -> bytes:
    """Returns a serialized PredictRequest."""
    request = messages.PredictRequest()
    request.model_spec.name = "taxi"
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].MergeFromString(tensor_bytes(array))
    return bytes(request.SerializeToString())


def predict_response(version: int = 7, signature: str = "serving_raw", **outputs: np.ndarray) -> bytes:
    """Returns a serialized PredictResponse."""
    response = messages.PredictResponse()
    response.model_spec.name = "taxi"
    response.model_spec.version.value = version
    response.model_spec.signature_name = signature
    for name, array in outputs.items():
        response.outputs[name].MergeFromString(tensor_bytes(array))
    return bytes(response.SerializeToString())


def exchange(number: int = 0, **changes: Any) -> Exchange:
    """Returns a Predict by gRPC that went well; `number` is in its id and in its one input.

    Args:
        number: tells it from others.
        changes: other values of its attributes.
    """
    values: dict[str, Any] = {
        "api": "gRPC",
        "entrypoint": "Predict",
        "model": "taxi",
        "version": 7,
        "signature": "serving_raw",
        "request": predict_request(fare=np.array([number], np.float32)),
        "response": predict_response(scores=np.array([[0.25, 0.75]], np.float32)),
        "code": Code.OK,
        "message": "",
        "request_id": f"id-{number:06d}",
        "caller_key": "",
        "started": NOON + number / 1000,
        "seconds": 0.002,
    }
    return Exchange(**{**values, **changes})


def rest_exchange(request: Any, response: Any, **changes: Any) -> Exchange:
    """Returns a Predict by REST that went well. JSON values, or bytes as they are."""
    bodies = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in (request, response)]
    return exchange(**{"api": "REST", "request": bodies[0], "response": bodies[1], **changes})


def parsed(record: bytes) -> tuple[Any, Any]:
    """Returns a record as capture reads it and as a PredictionLog."""
    return Record.FromString(record), messages.PredictionLog.FromString(record)


def fill(hook: CaptureHook, count: int, first: int = 0) -> None:
    """Has exchanges captured, numbered from `first` on."""
    for number in range(first, first + count):
        hook.done(exchange(number))
