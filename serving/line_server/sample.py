"""A real row to try a served model with, as lines that can be pasted into a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, json_format

from data.whole_file import replace_bytes
from serving import messages
from serving.capture.tfrecord import read
from serving.model_server.tensor_codec import to_array

WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
SIGNATURE = "serving_raw"


def sample_request(folder: Path, model: str) -> Any | None:
    """Returns a PredictRequest of one row of raw columns, or None where the model brings none.

    Args:
        folder: the SavedModel's directory; its warm-up file has rows.
        model: the name to ask for.
    """
    try:
        with open(folder / WARM_UP_FILE, "rb") as file:
            records = [record for record, _ in read(file) if isinstance(record, bytes)]
    except OSError:
        return None
    for record in records:
        request = messages.PredictionLog.FromString(record).predict_log.request
        if request.model_spec.signature_name == SIGNATURE:
            request.model_spec.Clear()
            request.model_spec.name, request.model_spec.signature_name = model, SIGNATURE
            return request
    return None


def curl_line(request: Any, address: str, *, tls: bool, token: bool) -> str:
    """Returns the curl command that sends a request by REST.

    Args:
        request: a PredictRequest of one row.
        address: `host:port` of the REST API.
        tls: whether it speaks TLS.
        token: whether it wants a token.
    """
    row = {name: _plain(to_array(request.inputs[name])[0]) for name in sorted(request.inputs)}
    body = json.dumps({"signature_name": request.model_spec.signature_name, "instances": [row]}, ensure_ascii=False)
    header = ["-H", "Authorization: Bearer TOKEN"] if token else []
    url = f"{'https' if tls else 'http'}://{address}/v1/models/{request.model_spec.name}:predict"
    return shlex.join(["curl", *header, "-d", body, url])


def grpcurl_line(request: Any, address: str, protoset: Path, *, tls: bool, token: bool) -> str:
    """Returns the grpcurl command that sends a request by gRPC.

    Args:
        request: a PredictRequest.
        address: `host:port` of the gRPC API.
        protoset: the file of `write_protoset`; TensorFlow Serving does not describe its API itself.
        tls: whether it speaks TLS.
        token: whether it wants a token.
    """
    body = json.dumps(json_format.MessageToDict(request, preserving_proto_field_name=True), sort_keys=True)
    header = ["-H", "authorization: Bearer TOKEN"] if token else []
    plain = [] if tls else ["-plaintext"]
    method = messages.PREDICT.path.lstrip("/")
    return shlex.join(["grpcurl", *plain, *header, "-protoset", str(protoset), "-d", body, address, method])


def write_protoset(path: Path) -> None:
    """Writes the descriptors of PredictionService, from which grpcurl knows how to send its messages."""
    files: dict[str, Any] = {}
    _collect(messages.PREDICT.request.DESCRIPTOR.file, files)
    service_file = descriptor_pb2.FileDescriptorProto(name="conveyor/prediction_service.proto", syntax="proto3")
    service_file.package, _, name = messages.PREDICT.path.lstrip("/").rpartition("/")[0].rpartition(".")
    service = service_file.service.add(name=name)
    methods = (messages.PREDICT, messages.CLASSIFY, messages.REGRESS, messages.GET_MODEL_METADATA)
    for method in methods:
        for message in (method.request, method.response):
            _collect(message.DESCRIPTOR.file, files)
        service.method.add(
            name=method.path.rpartition("/")[2],
            input_type=f".{method.request.DESCRIPTOR.full_name}",
            output_type=f".{method.response.DESCRIPTOR.full_name}",
        )
    service_file.dependency.extend(files)
    protoset = descriptor_pb2.FileDescriptorSet(file=[*files.values(), service_file])
    replace_bytes(path, protoset.SerializeToString(deterministic=True))


def _collect(file: Any, files: dict[str, Any]) -> None:
    """Adds a file after those that it needs."""
    if file.name in files:
        return
    for dependency in file.dependencies:
        _collect(dependency, files)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    files[file.name] = proto


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if hasattr(value, "tolist") else value
