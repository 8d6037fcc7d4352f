"""A gRPC server on the loopback and a client of it, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server.grpc_server import GrpcServer, GrpcThread

Metadata = Iterable[tuple[str, str]]

ANSWERS = {
    "/tensorflow.serving.PredictionService/Predict": predict_pb2.PredictResponse,
    "/tensorflow.serving.PredictionService/Classify": classification_pb2.ClassificationResponse,
    "/tensorflow.serving.PredictionService/Regress": regression_pb2.RegressionResponse,
    "/tensorflow.serving.PredictionService/MultiInference": inference_pb2.MultiInferenceResponse,
    "/tensorflow.serving.PredictionService/GetModelMetadata": get_model_metadata_pb2.GetModelMetadataResponse,
    "/tensorflow.serving.ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusResponse,
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest": model_management_pb2.ReloadConfigResponse,
}
METHODS = {method.rpartition("/")[2]: method for method in ANSWERS}
SECONDS = 60


class Asking:
    """A server that runs, and one connection to it. A context manager.

    Args:
        manager: what it serves.
        credentials: the client's, or None for a connection in the clear.
        target: the address to connect to, or None for the server's port.
        options: of `GrpcServer`.
    """

    def __init__(
        self,
        manager: Any,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        target: str | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("address", "127.0.0.1")
        self.server = GrpcServer(manager, **options)
        self.thread = GrpcThread(self.server)
        self._credentials = credentials
        self._target = target

    def __enter__(self) -> Asking:
        self.thread.start()
        self.target = self._target or f"localhost:{self.server.port}"
        self.channel = self.connect(self._credentials)
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.thread.stop(0)

    def connect(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        """Returns a further connection."""
        # Each with sockets of its own, and no limit but the server's.
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_retries", 0),
        ]
        if credentials is None:
            return grpc.insecure_channel(self.target, options)
        return grpc.secure_channel(self.target, credentials, options)

    def __call__(self, method: str, request: Any, metadata: Metadata = ()) -> Any:
        """Calls a method by its short name, with a message or with bytes, and returns the message that answers."""
        return self.with_call(method, request, metadata)[0]

    def with_call(self, method: str, request: Any, metadata: Metadata = ()) -> tuple[Any, grpc.Call]:
        """Calls a method, and returns the answer and what is known of the call."""
        path = METHODS.get(method, method)
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        answer, call = self.channel.unary_unary(path).with_call(raw, timeout=SECONDS, metadata=tuple(metadata))
        return (ANSWERS[path].FromString(answer) if path in ANSWERS else answer), call

    def error(self, method: str, request: Any, metadata: Metadata = ()) -> tuple[str, str]:
        """Calls a method that must fail, and returns the code's name and the message."""
        try:
            answer = self(method, request, metadata)
        except grpc.RpcError as e:
            return e.code().name, e.details()
        raise AssertionError(f"{method} answered: {answer}")


def predict_request(
    model: str = "toy", signature: str = "", version: int | None = None, label: str | None = None, **inputs: Any
) -> predict_pb2.PredictRequest:
    """Returns a PredictRequest, e.g. `predict_request(x=np.float32([1.0]))`."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
    return request


def example_request(kind: Any, signature: str, examples: Iterable[bytes], model: str = "toy") -> Any:
    """Returns a request of a type that takes examples, e.g. `regression_pb2.RegressionRequest`."""
    request = kind()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for item in examples:
        request.input.example_list.examples.add().ParseFromString(item)
    return request


def multi_request(
    *tasks: tuple[str, str], examples: Iterable[bytes] = (), model: str = "toy"
) -> inference_pb2.MultiInferenceRequest:
    """Returns a MultiInferenceRequest; a task is a signature and `classify` or `regress`."""
    request = inference_pb2.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = model
        task.model_spec.signature_name = signature
    for item in examples:
        request.input.example_list.examples.add().ParseFromString(item)
    return request
