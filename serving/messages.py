"""TensorFlow Serving's messages without TensorFlow.

`tensorflow_serving.apis` imports all of TensorFlow, which takes seconds. These classes are the same on the wire and in
JSON, and live in a descriptor pool of their own, so that both can be in one process. A message of one kind is not an
instance of the other: between them goes `SerializeToString` and `FromString`.

Values of enums are attributes of what they are nested in (`ModelVersionStatus.AVAILABLE`); those of `DataType` and
`Code` are in `DATA_TYPES` and `CODES`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from google.protobuf import descriptor_pool, message_factory

from serving.message_definitions import FILES
from serving.message_language import parse, well_known_files

_pool = descriptor_pool.DescriptorPool()
for _file in well_known_files():
    _pool.AddSerializedFile(_file)
for _text in FILES:
    _pool.AddSerializedFile(parse(_text).SerializeToString())

if hasattr(message_factory, "GetMessageClass"):
    _class_of = message_factory.GetMessageClass
else:  # protobuf 3.20, TFX 1.16's
    _class_of = message_factory.MessageFactory(_pool).GetPrototype


def message_class(full_name: str) -> Any:
    """Returns the class of a message.

    Args:
        full_name: with its package, e.g. `tensorflow.serving.ModelSpec`.

    Raises:
        KeyError: there is none of that name here.
    """
    return _class_of(_pool.FindMessageTypeByName(full_name))


def _serving(name: str) -> Any:
    return message_class(f"tensorflow.serving.{name}")


def _enum(full_name: str) -> dict[str, int]:
    return {value.name: value.number for value in _pool.FindEnumTypeByName(full_name).values}


Any_ = message_class("google.protobuf.Any")
Int64Value = message_class("google.protobuf.Int64Value")

DATA_TYPES = _enum("tensorflow.DataType")
CODES = _enum("tensorflow.error.Code")

TensorShapeProto = message_class("tensorflow.TensorShapeProto")
TensorProto = message_class("tensorflow.TensorProto")
TensorInfo = message_class("tensorflow.TensorInfo")
SignatureDef = message_class("tensorflow.SignatureDef")
BytesList = message_class("tensorflow.BytesList")
FloatList = message_class("tensorflow.FloatList")
Int64List = message_class("tensorflow.Int64List")
Feature = message_class("tensorflow.Feature")
Features = message_class("tensorflow.Features")
Example = message_class("tensorflow.Example")

ModelSpec = _serving("ModelSpec")
PredictRequest = _serving("PredictRequest")
PredictResponse = _serving("PredictResponse")
ExampleList = _serving("ExampleList")
ExampleListWithContext = _serving("ExampleListWithContext")
Input = _serving("Input")
Class = _serving("Class")
Classifications = _serving("Classifications")
ClassificationResult = _serving("ClassificationResult")
ClassificationRequest = _serving("ClassificationRequest")
ClassificationResponse = _serving("ClassificationResponse")
Regression = _serving("Regression")
RegressionResult = _serving("RegressionResult")
RegressionRequest = _serving("RegressionRequest")
RegressionResponse = _serving("RegressionResponse")
InferenceTask = _serving("InferenceTask")
InferenceResult = _serving("InferenceResult")
MultiInferenceRequest = _serving("MultiInferenceRequest")
MultiInferenceResponse = _serving("MultiInferenceResponse")
SignatureDefMap = _serving("SignatureDefMap")
GetModelMetadataRequest = _serving("GetModelMetadataRequest")
GetModelMetadataResponse = _serving("GetModelMetadataResponse")
StatusProto = _serving("StatusProto")
ModelVersionStatus = _serving("ModelVersionStatus")
GetModelStatusRequest = _serving("GetModelStatusRequest")
GetModelStatusResponse = _serving("GetModelStatusResponse")
SamplingConfig = _serving("SamplingConfig")
LoggingConfig = _serving("LoggingConfig")
ModelConfig = _serving("ModelConfig")
ModelConfigList = _serving("ModelConfigList")
ModelServerConfig = _serving("ModelServerConfig")
Metric = _serving("Metric")
ReloadConfigRequest = _serving("ReloadConfigRequest")
ReloadConfigResponse = _serving("ReloadConfigResponse")
LogMetadata = _serving("LogMetadata")
ClassifyLog = _serving("ClassifyLog")
RegressLog = _serving("RegressLog")
PredictLog = _serving("PredictLog")
PredictStreamedLog = _serving("PredictStreamedLog")
MultiInferenceLog = _serving("MultiInferenceLog")
SessionRunLog = _serving("SessionRunLog")
PredictionLog = _serving("PredictionLog")

HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of a gRPC service: what goes in and what comes out.

    Attributes:
        path: as gRPC names it, `/<service>/<method>`.
        request: the class of the request.
        response: the class of the response.
    """

    path: str
    request: Any
    response: Any


_PREDICTION = "/tensorflow.serving.PredictionService"
_MODEL = "/tensorflow.serving.ModelService"

PREDICT = Method(f"{_PREDICTION}/Predict", PredictRequest, PredictResponse)
CLASSIFY = Method(f"{_PREDICTION}/Classify", ClassificationRequest, ClassificationResponse)
REGRESS = Method(f"{_PREDICTION}/Regress", RegressionRequest, RegressionResponse)
MULTI_INFERENCE = Method(f"{_PREDICTION}/MultiInference", MultiInferenceRequest, MultiInferenceResponse)
GET_MODEL_METADATA = Method(f"{_PREDICTION}/GetModelMetadata", GetModelMetadataRequest, GetModelMetadataResponse)
GET_MODEL_STATUS = Method(f"{_MODEL}/GetModelStatus", GetModelStatusRequest, GetModelStatusResponse)
RELOAD_CONFIG = Method(f"{_MODEL}/HandleReloadConfigRequest", ReloadConfigRequest, ReloadConfigResponse)
HEALTH_CHECK = Method("/grpc.health.v1.Health/Check", HealthCheckRequest, HealthCheckResponse)
HEALTH_WATCH = Method("/grpc.health.v1.Health/Watch", HealthCheckRequest, HealthCheckResponse)
