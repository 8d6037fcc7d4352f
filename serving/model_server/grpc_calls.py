"""The methods of the gRPC API, from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server.classify import classify_with
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Entrypoint, ModelSpecQuery
from serving.model_server.metadata import get_model_metadata
from serving.model_server.model_service import get_model_status, handle_reload_config
from serving.model_server.model_spec import query_of, spec_of
from serving.model_server.multi_inference import multi_inference_query, multi_inference_with
from serving.model_server.predict import predict_bytes
from serving.model_server.regress import regress_with
from serving.model_server.tokens import Role

if TYPE_CHECKING:
    from serving.model_server.manager import Manager
    from serving.model_server.metrics import Metrics
    from serving.model_server.servable import Servable


@dataclasses.dataclass(frozen=True)
class Inference:
    """A method that runs a model.

    Attributes:
        entrypoint: its name.
        message: the type of its request.
        query: which model a request asks for; raises ServingError.
        signature: the signature that a request names, empty for the default one.
        answer: runs a model and returns the serialized answer; raises ServingError. Takes the model, the request and
            the keywords of `predict_bytes`.
        planned: whether its requests have plans.
    """

    entrypoint: Entrypoint
    message: Any
    query: Callable[[Any], ModelSpecQuery]
    signature: Callable[[Any], str]
    answer: Callable[..., bytes]
    planned: bool = False


@dataclasses.dataclass(frozen=True)
class Management:
    """A method that asks or changes the manager.

    Attributes:
        message: the type of its request.
        role: what a caller must be allowed.
        answer: returns the serialized answer, given the manager, the request and the server's metrics; raises
            ServingError.
        waits: whether it may take long.
    """

    message: Any
    role: Role
    answer: Callable[[Manager, Any, Metrics | None], bytes]
    waits: bool


def parse(message: Any, raw: bytes) -> Any:
    """Returns a request.

    Raises:
        ServingError: INVALID_ARGUMENT; the bytes are no such message.
    """
    request = message()
    try:
        # Before protobuf 4 the C++ parser stops at a stray end-group tag with no more than a warning.
        if request.MergeFromString(raw) == len(raw):
            return request
        cause = None
    except DecodeError as e:
        cause = e
    name = message.DESCRIPTOR.name
    raise ServingError(Code.INVALID_ARGUMENT, f"The {len(raw)} bytes that were sent are no {name}") from cause


def _spec_query(request: Any) -> ModelSpecQuery:
    return query_of(spec_of(request))


def _spec_signature(request: Any) -> str:
    return request.model_spec.signature_name


def _first_signature(request: Any) -> str:
    return request.tasks[0].model_spec.signature_name if request.tasks else ""


def _without_option(answer: Callable[..., Any]) -> Callable[..., bytes]:
    """Only Predict has tensors in its answer, and a choice how to write them."""

    def serialized(servable: Servable, request: Any, *, as_content: bool, **watch: Any) -> bytes:
        return answer(servable, request, **watch).SerializeToString()

    return serialized


def _reload(manager: Manager, request: Any, metrics: Metrics | None) -> bytes:
    return handle_reload_config(manager, request, metrics.value if metrics else None).SerializeToString()


_PREDICTION = "/tensorflow.serving.PredictionService/"
_MODEL = "/tensorflow.serving.ModelService/"

METHODS: dict[str, Inference | Management] = {
    _PREDICTION + "Predict": Inference(
        "Predict", predict_pb2.PredictRequest, _spec_query, _spec_signature, predict_bytes, planned=True
    ),
    _PREDICTION + "Classify": Inference(
        "Classify",
        classification_pb2.ClassificationRequest,
        _spec_query,
        _spec_signature,
        _without_option(classify_with),
    ),
    _PREDICTION + "Regress": Inference(
        "Regress", regression_pb2.RegressionRequest, _spec_query, _spec_signature, _without_option(regress_with)
    ),
    _PREDICTION + "MultiInference": Inference(
        "MultiInference",
        inference_pb2.MultiInferenceRequest,
        multi_inference_query,
        _first_signature,
        _without_option(multi_inference_with),
    ),
    _PREDICTION + "GetModelMetadata": Management(
        get_model_metadata_pb2.GetModelMetadataRequest,
        Role.READ,
        lambda manager, request, _: get_model_metadata(manager, request).SerializeToString(),
        waits=False,
    ),
    _MODEL + "GetModelStatus": Management(
        get_model_status_pb2.GetModelStatusRequest,
        Role.READ,
        lambda manager, request, _: get_model_status(manager, request).SerializeToString(),
        waits=False,
    ),
    _MODEL + "HandleReloadConfigRequest": Management(
        model_management_pb2.ReloadConfigRequest,
        Role.ADMIN,
        _reload,
        waits=True,
    ),
}
