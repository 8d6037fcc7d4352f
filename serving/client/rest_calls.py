"""Requests and answers of TensorFlow Serving's REST API, as bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from serving import messages
from serving.client.calls import Call, Tensors, VersionStatus
from serving.client.examples import Features, as_json, as_json_value
from serving.client.grpc_calls import read_statuses
from serving.client.signatures import Metadata, SignatureSpec, TensorSpec, read_signatures
from serving.client.target import Api, Model


class RestCalls:
    """`serving.client.calls.Protocols` for REST.

    Predict is asked in columns (`inputs`), which is shorter than in rows and needs no model that knows rows at all.
    """

    api: Api = "REST"

    def predict(
        self, model: Model, signature: SignatureSpec, tensors: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> Call:
        """Returns a Predict request. REST always answers with all outputs."""
        body = {
            "signature_name": signature.name,
            "inputs": {name: _as_lists(array) for name, array in tensors.items()},
        }
        return _post(model, "predict", body)

    def read_predict(self, body: bytes, signature: SignatureSpec, outputs: Sequence[str]) -> Tensors:
        """Reads the answer to it."""
        answer = _read(body, "outputs")
        if len(signature.outputs) == 1:
            # A single output stands there without its name.
            (name,) = signature.outputs
            answer = {name: answer}
        if not isinstance(answer, dict) or set(answer) != set(signature.outputs):
            raise ValueError(f"outputs other than {', '.join(signature.outputs)}")
        wanted = set(outputs or signature.outputs)
        arrays = {n: _as_array(answer[n], spec) for n, spec in signature.outputs.items() if n in wanted}
        return Tensors(arrays, None)

    def classify(self, model: Model, signature: str, examples: Sequence[Features]) -> Call:
        """Returns a Classify request."""
        body = {"signature_name": signature, "examples": [as_json(features) for features in examples]}
        return _post(model, "classify", body)

    def read_classify(self, body: bytes) -> list[list[tuple[str, float]]]:
        """Reads the answer to it."""
        try:
            return [[(str(label), float(score)) for label, score in row] for row in _read(body, "results")]
        except TypeError:
            raise ValueError("results that are no lists of a label and a score") from None

    def regress(self, model: Model, signature: str, examples: Sequence[Features]) -> Call:
        """Returns a Regress request."""
        body = {"signature_name": signature, "examples": [as_json(features) for features in examples]}
        return _post(model, "regress", body)

    def read_regress(self, body: bytes) -> list[float]:
        """Reads the answer to it."""
        try:
            return [float(value) for value in _read(body, "results")]
        except TypeError:
            raise ValueError("results that are no numbers") from None

    def metadata(self, model: Model) -> Call:
        """Returns a GetModelMetadata request."""
        return Call(_path(model) + "/metadata", b"", get=True)

    def read_metadata(self, body: bytes) -> Metadata:
        """Reads the answer to it."""
        answer = _read(body, None)
        try:
            spec = answer["model_spec"]
            version = int(spec["version"]) if spec.get("version") else None
            signatures = _message(messages.SignatureDefMap(), answer["metadata"]["signature_def"])
            return Metadata(str(spec["name"]), version, read_signatures(signatures))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"JSON that is no metadata of a model ({type(error).__name__}: {error})") from None

    def status(self, model: Model) -> Call:
        """Returns a GetModelStatus request."""
        return Call(_path(model), b"", get=True)

    def read_status(self, body: bytes) -> list[VersionStatus]:
        """Reads the answer to it."""
        return read_statuses(_message(messages.GetModelStatusResponse(), _read(body, None)))


def _path(model: Model) -> str:
    path = f"/v1/models/{quote(model.name, safe='')}"
    if model.version is not None:
        return f"{path}/versions/{model.version}"
    return path if model.label is None else f"{path}/labels/{quote(model.label, safe='')}"


def _post(model: Model, verb: str, body: Any) -> Call:
    # NaN stands in it as such: TensorFlow Serving reads and writes it so.
    return Call(f"{_path(model)}:{verb}", json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def _read(body: bytes, key: str | None) -> Any:
    # An output that is text by its name may hold any bytes.
    answer = json.loads(body.decode("utf-8", "surrogateescape"))
    if not isinstance(answer, dict) or (key is not None and key not in answer):
        raise ValueError(f"JSON without {key!r}" if key else "JSON that is no object")
    return answer if key is None else answer[key]


def _message(message: Any, value: Any) -> Any:
    from google.protobuf import json_format

    try:
        return json_format.ParseDict(value, message, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(f"JSON that is no {message.DESCRIPTOR.name}: {error}") from None


def _as_lists(array: np.ndarray) -> Any:
    if array.dtype != object:
        # Of the types that numpy has none of its own for, bfloat16 comes here; float32 holds its values.
        return (array if array.dtype.kind in "iufb" else array.astype(np.float32)).tolist()
    if array.ndim == 0:
        return as_json_value(array.item())
    return [_as_lists(part) if isinstance(part, np.ndarray) else as_json_value(part) for part in array]


def _as_array(value: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype != "string":
        try:
            return np.array(value, spec.numpy_dtype)
        except TypeError as error:
            raise ValueError(f"{spec.name!r} that is no {spec.dtype}: {error}") from None
    shape = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    array = np.empty(shape, object)
    flat: list[Any] = [value]
    for size in shape:
        if any(not isinstance(part, list) or len(part) != size for part in flat):
            raise ValueError(f"{spec.name!r} with lists of different lengths")
        flat = [item for part in flat for item in part]
    array.reshape(-1)[:] = [_text(item) for item in flat]
    return array


def _text(value: Any) -> str | bytes:
    if isinstance(value, dict):
        try:
            raw = base64.b64decode(value["b64"], validate=True)
        except (KeyError, TypeError):
            raise ValueError("an object that is no base64") from None
    else:
        raw = str(value).encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
