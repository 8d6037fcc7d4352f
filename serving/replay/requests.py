"""Captured requests as they can be asked again, and why some of them cannot."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from google.protobuf.message import DecodeError

from serving import messages
from serving.capture.reader import Captured
from serving.capture.redaction import EXAMPLE_KEYS
from serving.messages import CLASSIFY, MULTI_INFERENCE, PREDICT, REGRESS, Method
from serving.model_server.errors import Code, ServingError
from serving.model_server.tensor_codec import to_array

METHODS: dict[str, Method] = {
    "Predict": PREDICT,
    "Classify": CLASSIFY,
    "Regress": REGRESS,
    "MultiInference": MULTI_INFERENCE,
}
"""Entrypoint to method."""

_HASH = re.compile(rb"[0-9a-f]{64}")
_LOG_NAMES = {
    "Predict": "predict_log",
    "Classify": "classify_log",
    "Regress": "regress_log",
    "MultiInference": "multi_inference_log",
}


def message_of(captured: Captured, model: str, version: int) -> Any:
    """Returns a captured request as a message of its method, with the model's name and a version in it.

    Raises:
        DecodeError: what was captured is no such message.
    """
    record = getattr(captured.log(), _LOG_NAMES[captured.entrypoint])
    request = METHODS[captured.entrypoint].request.FromString(record.request.SerializeToString())
    specs = [task.model_spec for task in request.tasks] if captured.entrypoint == "MultiInference" else None
    for spec in specs or [request.model_spec]:
        spec.name = model
        spec.version.value = version
    return request


def log_with(captured: Captured, response: bytes) -> Any:
    """Returns a PredictionLog of the captured method with another answer."""
    name = _LOG_NAMES[captured.entrypoint]
    log = messages.PredictionLog()
    getattr(log, name).response.MergeFromString(response)
    return log


def why_not(captured: Captured, left_out: Collection[str], hashed: Collection[str], inputs: Collection[str]) -> str:
    """Returns why a captured request cannot be asked again, or an empty text when it can.

    Args:
        captured: the record.
        left_out: columns that capture leaves out.
        hashed: columns that capture hashes.
        inputs: the raw columns that the model takes; empty when that is not known.
    """
    if captured.entrypoint not in METHODS:
        return "it is of a method that is not captured here"
    capture = captured.metadata.capture
    if capture.request_body:
        return "its REST body could not be made a message when it was captured"
    try:
        log = getattr(captured.log(), _LOG_NAMES[captured.entrypoint])
        present, hashes = _columns(captured.entrypoint, log.request)
    except (DecodeError, ServingError):
        return "what was captured cannot be read"
    if (left_out or hashed) and captured.code != Code.OK and not present:
        return "redacted: capture keeps nothing of a failed request"
    matter = [column for column in left_out if (not inputs or column in inputs) and column not in present]
    matter += [column for column in hashed if (not inputs or column in inputs) and column in hashes]
    if matter:
        return f"redacted: {', '.join(sorted(matter))}"
    return "" if present or captured.code == Code.OK else "nothing of the request was captured"


def _columns(entrypoint: str, request: Any) -> tuple[set[str], set[str]]:
    """Returns the raw columns of a request, and those that have hashes in them."""
    if entrypoint != "Predict":
        given = request.input
        kind = given.WhichOneof("kind")
        examples = list(getattr(given, kind).examples) if kind else []
        if kind == "example_list_with_context":
            examples.append(given.example_list_with_context.context)
        return _of_examples(examples)
    present: set[str] = set()
    hashes: set[str] = set()
    for key, tensor in request.inputs.items():
        present.add(key)
        if tensor.dtype != messages.DATA_TYPES["DT_STRING"]:
            continue
        values = to_array(tensor).reshape(-1).tolist()
        if key in EXAMPLE_KEYS:
            more, hashed = _of_examples([messages.Example.FromString(value) for value in values])
            present |= more
            hashes |= hashed
        elif any(_HASH.fullmatch(value) for value in values):
            hashes.add(key)
    return present, hashes


def _of_examples(examples: list[Any]) -> tuple[set[str], set[str]]:
    present: set[str] = set()
    hashes: set[str] = set()
    for example in examples:
        for name, feature in example.features.feature.items():
            present.add(name)
            if any(_HASH.fullmatch(value) for value in feature.bytes_list.value):
                hashes.add(name)
    return present, hashes
