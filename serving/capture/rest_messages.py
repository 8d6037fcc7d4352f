"""Makes messages of the REST API's bodies, by the model's signatures: what the caller would have sent by gRPC."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from serving import messages
from serving.capture.quick_tensors import array_map, map_entry, tensor_map
from serving.model_server import json_document, json_examples, json_tensor
from serving.model_server.errors import ServingError
from serving.model_server.hooks import Exchange
from serving.model_server.model_spec import DEFAULT_SIGNATURE, spec_bytes
from serving.model_server.tensor_codec import tensor_bytes
from serving.model_server.wire import delimited

_RETRY_SECONDS = 5.0
_MAX_VERSIONS = 64


class SignatureTensors(Protocol):
    """The tensors of a signature: `serving.v1_loader.Signature`, or the client's `SignatureSpec`."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Input key to something with a `dtype`, TensorFlow's name."""
        ...

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Output key likewise."""
        ...


FindSignatures = Callable[[str, int], Mapping[str, SignatureTensors]]
"""Finds the signatures of a model's version. It may take a while, and raise anything when there are none to be had."""


class NotConverted(Exception):
    """A body is not that of a request or answer of the API, or the model's signatures are not known."""


class RestMessages:
    """Makes messages of REST bodies. Not thread-safe.

    Args:
        find_signatures: finds a version's signatures. It is asked once a version; after a failure, again 5 s later.
    """

    def __init__(self, find_signatures: FindSignatures | None) -> None:
        self._find = find_signatures
        self._known: dict[tuple[str, int], Mapping[str, SignatureTensors]] = {}
        self._failed: dict[tuple[str, int], float] = {}

    def request(self, exchange: Exchange) -> bytes:
        """Returns the request's message, serialized. Its model spec has the name and the signature.

        Raises:
            NotConverted: it cannot be made.
        """
        if exchange.tensors is not None:
            return request_spec(exchange) + array_map(2, exchange.tensors.inputs)
        try:
            document = json_document.request_object(exchange.request)
            if exchange.entrypoint != "Predict":
                listed = b"".join(delimited(1, example) for example in json_examples.examples(document))
                return request_spec(exchange) + delimited(2, delimited(1, listed))
            return request_spec(exchange) + _tensors(2, document, self._signature(exchange).inputs)
        except (ServingError, ValueError, KeyError) as e:
            raise NotConverted from e

    def response(self, exchange: Exchange) -> bytes:
        """Returns the answer's message, serialized.

        Raises:
            NotConverted: it cannot be made.
        """
        version = exchange.version or 0
        try:
            spec = delimited(2, spec_bytes(exchange.model, exchange.signature, version))
            if exchange.tensors is not None:
                return array_map(1, exchange.tensors.outputs) + spec
            document = json_document.request_object(exchange.response)
            if exchange.entrypoint == "Classify":
                return spec + delimited(1, _classification(document["results"]))
            if exchange.entrypoint == "Regress":
                values = [messages.Regression(value=value) for value in document["results"]]
                return spec + delimited(1, messages.RegressionResult(regressions=values).SerializeToString())
            # An answer has the form of a request: `predictions` are rows, `outputs` are columns.
            by_row = "predictions" in document
            form = {"instances": document["predictions"]} if by_row else {"inputs": document["outputs"]}
            return _tensors(1, form, self._signature(exchange).outputs) + spec
        except (ServingError, ValueError, KeyError, TypeError) as e:
            raise NotConverted from e

    def _signature(self, exchange: Exchange) -> SignatureTensors:
        if exchange.version is None or self._find is None:
            raise KeyError("version")
        key = (exchange.model, exchange.version)
        if key not in self._known:
            now = time.monotonic()
            if now - self._failed.get(key, -_RETRY_SECONDS) < _RETRY_SECONDS:
                raise KeyError("signatures")
            try:
                found = self._find(*key)
            except Exception as e:
                self._failed[key] = now
                raise KeyError("signatures") from e
            if len(self._known) >= _MAX_VERSIONS:
                self._known.pop(next(iter(self._known)))
            self._known[key] = found
        return self._known[key][exchange.signature or DEFAULT_SIGNATURE]


def request_spec(exchange: Exchange) -> bytes:
    """Returns a request's message, serialized, in which nothing is but the model spec of its first part."""
    return _request_spec(exchange.model, exchange.signature, exchange.entrypoint == "MultiInference")


@functools.lru_cache(maxsize=1024)
def _request_spec(model: str, signature: str, in_task: bool) -> bytes:
    name, key = model.encode("utf-8", "replace"), signature.encode("utf-8", "replace")
    message = delimited(1, delimited(1, name) + (delimited(3, key) if key else b""))
    # Of a MultiInferenceRequest, field 1 is the first task, and the spec is the task's field 1.
    return delimited(1, message) if in_task else message


def _tensors(field: int, document: dict[str, Any], tensors: Mapping[str, Any]) -> bytes:
    """Returns the tensors of a request as the map with this number in a message, serialized."""
    if ("instances" in document) != ("inputs" in document):
        by_row = "instances" in document
        quick = tensor_map(field, document["instances" if by_row else "inputs"], tensors, by_row)
        if quick is not None:
            return quick
    _, arrays = json_tensor.tensors(document, tensors)
    return b"".join(map_entry(field, key, tensor_bytes(array)) for key, array in arrays.items())


def _classification(results: list[list[tuple[str, float]]]) -> bytes:
    message = messages.ClassificationResult()
    for row in results:
        classes = message.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)
    return bytes(message.SerializeToString())
