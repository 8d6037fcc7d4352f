"""A model without TensorFlow, and plans made with it, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow_serving.apis import predict_pb2

from serving.model_server.model_spec import query_of, spec_of
from serving.model_server.predict import predict_bytes
from serving.model_server.predict_plan import Plans
from serving.v1_loader import Signature, TensorInfo
from tests.serving.model_server.grpc_asking import predict_request


class Echo:
    """A model that answers each input under its own name."""

    name = "m"

    def __init__(self, *keys: str, version: int = 1) -> None:
        self.version = version
        tensors = {key: TensorInfo(f"{key}:0", "float32", None) for key in keys}
        self.signatures = {"serving_default": Signature("serving_default", "", tensors, tensors, {})}
        self.ran = 0

    def run(self, _: Signature, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        self.ran += 1
        return [feeds[key] for key in fetches]


def learn(plans: Plans, raw: bytes, servable: Any) -> None:
    request = predict_pb2.PredictRequest.FromString(raw)
    predict_bytes(servable, request)
    plans.learn(raw, request, query_of(spec_of(request)), servable)


def parsed(raw: bytes) -> predict_pb2.PredictResponse:
    return predict_pb2.PredictResponse.FromString(raw)


def request_of(inputs: Mapping[str, Any], signature: str = "") -> bytes:
    return predict_request("m", signature, **inputs).SerializeToString()
