"""A captured record: TensorFlow Serving's PredictionLog, with what it has no field for in a field of ours.

`PredictionLog.log_metadata` gets a field 50001, a `CaptureMetadata`. Protocol buffers let readers keep or skip fields
that they do not know, so that TensorFlow's own classes read a record as it is (docs/decisions/0007). Here the same
bytes are read by classes that know that field, and that leave request and answer as bytes until somebody wants them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory

from serving import messages
from serving.message_language import parse
from serving.model_server.hooks import Entrypoint

METADATA_FIELD = 50001
"""Beyond what PredictionLog may ever have, and in the range that protocol buffers leave to users."""

_FORMAT = """
package conveyor.capture;
message Shadow {
  optional int64 of_version = 1;
  optional double max_abs_difference = 2;
  optional double class_agreement = 3;
}
message CaptureMetadata {
  string request_id = 1;
  string line = 2;
  string caller_key = 3;
  double started = 4;
  double seconds = 5;
  string api = 6;
  int32 code = 7;
  string message = 8;
  bytes request_body = 9;
  bytes response_body = 10;
  Shadow shadow = 11;
}
message Fields {}
message Log { Fields request = 1; Fields response = 2; }
message NamedTensor { string key = 1; bytes value = 2; }
message PredictRequest {
  bytes model_spec = 1;
  repeated NamedTensor tensors = 2;
  repeated string output_filter = 3;
  bytes predict_streamed_options = 5;
  bytes client_id = 6;
  bytes request_options = 7;
}
message PredictResponse { repeated NamedTensor tensors = 1; bytes model_spec = 2; }
message Int64 { int64 value = 1; }
message ModelSpec { string name = 1; Int64 version = 2; string signature_name = 3; }
message SamplingConfig { double sampling_rate = 1; }
message LogMetadata {
  ModelSpec model_spec = 1;
  SamplingConfig sampling_config = 2;
  repeated string saved_model_tags = 3;
  int64 timestamp_secs = 4;
  CaptureMetadata capture = 50001;
}
message Record {
  LogMetadata log_metadata = 1;
  oneof log_type {
    bytes classify_log = 2; bytes regress_log = 3; bytes multi_inference_log = 4; bytes session_run_log = 5;
    bytes predict_log = 6; bytes predict_streamed_log = 7;
  }
}
"""
# `started` is seconds since the epoch. The bodies are those of REST requests that could not be made messages of.

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(parse(_FORMAT).SerializeToString())
if hasattr(message_factory, "GetMessageClass"):
    _class_of = message_factory.GetMessageClass
else:  # protobuf 3.20, TFX 1.16's
    _class_of = message_factory.MessageFactory(_pool).GetPrototype


def _message(name: str) -> Any:
    return _class_of(_pool.FindMessageTypeByName(f"conveyor.capture.{name}"))


Record = _message("Record")
Log = _message("Log")
"""What all logs have in common. It reads what any of them has, and looks into nothing."""
PredictRequest = _message("PredictRequest")
"""A PredictRequest whose tensors are left as bytes."""
PredictResponse = _message("PredictResponse")
"""A PredictResponse likewise."""

LOG_FIELDS: dict[Entrypoint, int] = {"Predict": 6, "Classify": 2, "Regress": 3, "MultiInference": 4}
"""Entrypoint to the number of the PredictionLog's field that has its request and answer."""
ENTRYPOINTS: dict[str, Entrypoint] = {
    "predict_log": "Predict",
    "classify_log": "Classify",
    "regress_log": "Regress",
    "multi_inference_log": "MultiInference",
}
"""Name of a PredictionLog's field to entrypoint."""
REQUESTS: dict[Entrypoint, Any] = {
    "Predict": messages.PredictRequest,
    "Classify": messages.ClassificationRequest,
    "Regress": messages.RegressionRequest,
    "MultiInference": messages.MultiInferenceRequest,
}
LOGS: dict[Entrypoint, Any] = {
    "Predict": messages.PredictLog,
    "Classify": messages.ClassifyLog,
    "Regress": messages.RegressLog,
    "MultiInference": messages.MultiInferenceLog,
}
