"""Replays a model's warm-up file, as TensorFlow Serving does before a model is available."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serving.model_server.errors import Code, ServingError
from serving.model_server.examples import examples_of
from serving.model_server.model_spec import DEFAULT_SIGNATURE

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000

Run = Callable[[str, dict[str, np.ndarray]], object]


def replay(path: Path, run: Run, iterations: int = 1) -> int:
    """Replays a warm-up file and returns how many requests it has.

    Args:
        path: a TFRecord of PredictionLogs; not compressed.
        run: runs a signature: its key, and input key to array.
        iterations: how many times each request is run.

    Raises:
        ServingError: INVALID_ARGUMENT or UNIMPLEMENTED: a record is no request that can be replayed, or there are more
            than `MAX_RECORDS`; DATA_LOSS: it is no TFRecord file.
        Exception: what `run` raises; the server would not load the model then.
    """
    count = 0
    for count, record in enumerate(_records(path), start=1):
        if count > MAX_RECORDS:
            message = f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}"
            raise ServingError(Code.INVALID_ARGUMENT, message)
        for _ in range(iterations):
            for signature, inputs in _requests(record, count, path):
                run(signature, inputs)
    return count


def _records(path: Path) -> Iterator[bytes]:
    import tensorflow as tf

    try:
        # Not tf.data: that would make an eager context, with threads and memory that a server has no use for.
        yield from tf.compat.v1.io.tf_record_iterator(str(path))
    except tf.errors.DataLossError as error:
        raise ServingError(
            Code.DATA_LOSS, f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from error


def _requests(record: bytes, number: int, path: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        message = f"Failed to parse warmup record: record {number} from {path} is no PredictionLog"
        raise ServingError(Code.INVALID_ARGUMENT, message) from error
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        yield request.model_spec.signature_name or DEFAULT_SIGNATURE, inputs
    elif kind in ("classify_log", "regress_log"):
        request = getattr(log, kind).request
        yield request.model_spec.signature_name or DEFAULT_SIGNATURE, {"inputs": _examples(request.input)}
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        for task in request.tasks:
            yield task.model_spec.signature_name or DEFAULT_SIGNATURE, {"inputs": _examples(request.input)}
    elif kind is not None:
        message = f"Unsupported log_type for warmup: {kind} (record {number} of {path})"
        raise ServingError(Code.UNIMPLEMENTED, message)


def _examples(proto: Any) -> np.ndarray:
    return np.array(examples_of(proto), dtype=object)
