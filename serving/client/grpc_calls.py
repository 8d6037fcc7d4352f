"""Requests and answers of TensorFlow Serving's gRPC API, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from serving import messages
from serving.client.calls import Call, Tensors, VersionStatus
from serving.client.examples import Features, serialize
from serving.client.signatures import Metadata, SignatureSpec, read_signatures
from serving.client.target import Api, Model
from serving.model_server import tensor_codec
from serving.model_server.errors import Code, ServingError


class GrpcCalls:
    """`serving.client.calls.Protocols` for gRPC."""

    api: Api = "gRPC"

    def predict(
        self, model: Model, signature: SignatureSpec, tensors: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> Call:
        """Returns a Predict request."""
        request = messages.PredictRequest(output_filter=outputs)
        _fill(request.model_spec, model, signature.name)
        for name, array in tensors.items():
            request.inputs[name].MergeFromString(tensor_codec.tensor_bytes(array))
        return _call(messages.PREDICT, request)

    def read_predict(self, body: bytes, signature: SignatureSpec, outputs: Sequence[str]) -> Tensors:
        """Reads the answer to it."""
        response = _read(messages.PREDICT, body)
        try:
            arrays = {name: tensor_codec.to_array(response.outputs[name]) for name in sorted(response.outputs)}
        except ServingError as error:
            raise ValueError(error.message) from None
        return Tensors(
            {name: _as_texts(array) if array.dtype == object else array for name, array in arrays.items()},
            _version(response.model_spec),
        )

    def classify(self, model: Model, signature: str, examples: Sequence[Features]) -> Call:
        """Returns a Classify request."""
        return _of_examples(messages.CLASSIFY, model, signature, examples)

    def read_classify(self, body: bytes) -> list[list[tuple[str, float]]]:
        """Reads the answer to it."""
        result = _read(messages.CLASSIFY, body).result
        return [[(one.label, one.score) for one in row.classes] for row in result.classifications]

    def regress(self, model: Model, signature: str, examples: Sequence[Features]) -> Call:
        """Returns a Regress request."""
        return _of_examples(messages.REGRESS, model, signature, examples)

    def read_regress(self, body: bytes) -> list[float]:
        """Reads the answer to it."""
        return [one.value for one in _read(messages.REGRESS, body).result.regressions]

    def metadata(self, model: Model) -> Call:
        """Returns a GetModelMetadata request."""
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill(request.model_spec, model)
        return _call(messages.GET_MODEL_METADATA, request)

    def read_metadata(self, body: bytes) -> Metadata:
        """Reads the answer to it."""
        response = _read(messages.GET_MODEL_METADATA, body)
        signatures = messages.SignatureDefMap()
        if not response.metadata["signature_def"].Unpack(signatures):
            raise ValueError("an answer without signature_def")
        return Metadata(response.model_spec.name, _version(response.model_spec), read_signatures(signatures))

    def status(self, model: Model) -> Call:
        """Returns a GetModelStatus request."""
        request = messages.GetModelStatusRequest()
        _fill(request.model_spec, model)
        return _call(messages.GET_MODEL_STATUS, request)

    def read_status(self, body: bytes) -> list[VersionStatus]:
        """Reads the answer to it."""
        return read_statuses(_read(messages.GET_MODEL_STATUS, body))


def read_statuses(response: Any) -> list[VersionStatus]:
    """Reads a `GetModelStatusResponse`."""
    names = messages.ModelVersionStatus.State
    known = set(Code)
    return sorted(
        (
            VersionStatus(
                version=one.version,
                state=names.Name(one.state) if one.state in names.values() else str(one.state),
                code=Code(one.status.error_code) if one.status.error_code in known else Code.UNKNOWN,
                message=one.status.error_message,
            )
            for one in response.model_version_status
        ),
        key=lambda status: -status.version,
    )


def _fill(spec: Any, model: Model, signature: str = "") -> None:
    spec.name = model.name
    spec.signature_name = signature
    if model.version is not None:
        spec.version.value = model.version
    elif model.label is not None:
        spec.version_label = model.label


def _of_examples(method: messages.Method, model: Model, signature: str, examples: Sequence[Features]) -> Call:
    request = method.request()
    _fill(request.model_spec, model, signature)
    for features in examples:
        request.input.example_list.examples.add().MergeFromString(serialize(features))
    return _call(method, request)


def _call(method: messages.Method, request: Any) -> Call:
    return Call(method.path, request.SerializeToString())


def _read(method: messages.Method, body: bytes) -> Any:
    try:
        return method.response.FromString(body)
    except DecodeError as error:
        raise ValueError(f"bytes that are no {method.response.DESCRIPTOR.name}: {error}") from None


def _version(spec: Any) -> int | None:
    return int(spec.version.value) if spec.HasField("version") else None


def _as_texts(array: np.ndarray) -> np.ndarray:
    """Returns bytes as str, but for those that are no UTF-8."""
    texts = np.empty(array.size, object)
    texts[:] = [_text(value) for value in array.reshape(-1)]
    return texts.reshape(array.shape)


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
