"""Leaves columns out of messages, or puts a keyed hash in place of their values.

A raw column is in a request as a tensor of its name (`serving_raw`), or as a feature of serialized tf.Examples: those
in a string tensor, and those of Classify, Regress and MultiInference. What was hashed is a text afterwards, 64
hexadecimal digits, whatever it was before. The same value has the same hash in any of these places.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from serving import messages
from serving.capture.log_format import REQUESTS, PredictRequest, PredictResponse
from serving.model_server.errors import ServingError
from serving.model_server.hooks import Entrypoint
from serving.model_server.tensor_codec import tensor_bytes, to_array

EXAMPLE_KEYS = ("examples", "inputs", "input")
"""Input keys of string tensors that hold nothing but serialized tf.Examples."""

_STRING = messages.DATA_TYPES["DT_STRING"]
_LEAST = int(np.iinfo(np.int64).min)


class Redaction:
    """What is left out of messages and what is hashed in them.

    Args:
        leave_out: raw columns that are left out.
        hashed: raw columns that are hashed.
        key: the key of the hash.
    """

    def __init__(self, leave_out: Iterable[str], hashed: Iterable[str], key: str) -> None:
        self._leave_out = frozenset(leave_out)
        self._hashed = frozenset(hashed)
        self._columns = sorted(self._leave_out | self._hashed)
        self._mentions = re.compile(b"|".join(re.escape(column.encode()) for column in self._columns)).search
        self._key = key.encode()

    def request(self, entrypoint: Entrypoint, serialized: bytes) -> bytes:
        """Returns a serialized request without those columns. Fields that nobody knows are left out too.

        Raises:
            DecodeError: it is no such message.
        """
        if entrypoint == "Predict":
            message = PredictRequest.FromString(serialized)
            self._redact(message.tensors, lambda key: key in self._leave_out)
        else:
            message = REQUESTS[entrypoint].FromString(serialized)
            given = message.input
            for example in (*given.example_list.examples, *given.example_list_with_context.examples):
                self._example(example)
            if given.HasField("example_list_with_context"):
                self._example(given.example_list_with_context.context)
        message.DiscardUnknownFields()
        return bytes(message.SerializeToString())

    def response(self, entrypoint: Entrypoint, serialized: bytes) -> bytes:
        """Returns a serialized answer without those columns, and without what Transform made of them.

        Raises:
            DecodeError: it is no such message.
        """
        if entrypoint != "Predict":
            return serialized
        message = PredictResponse.FromString(serialized)
        self._redact(message.tensors, self._left_out_of_answers)
        message.DiscardUnknownFields()
        return bytes(message.SerializeToString())

    def hash(self, value: Any) -> bytes:
        """Returns the HMAC-SHA-256 of a value, 64 hexadecimal digits; nothing for a missing one.

        Hashed are the bytes of a text, the decimal digits of a whole number, and the shortest decimal number that is
        the same float32. A bool counts as a number. What stands for missing in `serving_raw` (NaN, "", the least int64)
        is missing.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float):
            with np.errstate(over="ignore"):
                text = b"" if value != value else str(np.float32(value)).encode()
        elif isinstance(value, bytes):
            text = value
        else:
            text = b"" if value == _LEAST else b"%d" % int(value)
        return hmac.digest(self._key, text, "sha256").hex().encode() if text else b""

    def _redact(self, tensors: Any, left_out: Callable[[str], bool]) -> None:
        """Redacts tensors by name, in place."""
        for index in reversed(range(len(tensors))):
            key, value = tensors[index].key, tensors[index].value
            redacted: bytes | None = value
            if left_out(key):
                redacted = None
            elif key in self._hashed or self._mentions(value):
                redacted = self._tensor(key, value)
            if redacted is None:
                del tensors[index]
            elif redacted is not value:
                tensors[index].value = redacted

    def _tensor(self, key: str, serialized: bytes) -> bytes | None:
        """Returns a serialized tensor of which values are hashed or Examples redacted; None for one that is damaged."""
        tensor = messages.TensorProto.FromString(serialized)
        if key not in self._hashed and tensor.dtype != _STRING:
            return serialized
        try:
            array = to_array(tensor)
        except ServingError:
            return None
        texts = np.empty(array.size, object)
        if key in self._hashed:
            texts[:] = [self.hash(value) for value in array.reshape(-1)]
        else:
            texts[:] = [self._serialized(value, key) for value in array.reshape(-1)]
        return tensor_bytes(texts.reshape(array.shape))

    def _left_out_of_answers(self, key: str) -> bool:
        if key in self._hashed:
            return False
        return key in self._leave_out or any(_comes_from(key, column) for column in self._columns)

    def _serialized(self, value: bytes, key: str) -> bytes:
        if not self._mentions(value):
            return value
        try:
            example = messages.Example.FromString(value)
        except DecodeError:
            # A text that has the word in it; but where there should be an example, better nothing.
            return b"" if key in EXAMPLE_KEYS else value
        if not self._example(example) and key not in EXAMPLE_KEYS:
            return value
        example.DiscardUnknownFields()
        return bytes(example.SerializeToString())

    def _example(self, example: Any) -> bool:
        """Redacts a tf.Example in place, and returns whether there was anything to redact."""
        features = example.features.feature
        found = [column for column in self._columns if column in features]
        for column in found:
            if column in self._leave_out:
                del features[column]
                continue
            feature = features[column]
            kind = feature.WhichOneof("kind")
            if kind is not None:
                hashes = [self.hash(value) for value in getattr(feature, kind).value]
                feature.bytes_list.value[:] = hashes
        return bool(found)


def _comes_from(output: str, column: str) -> bool:
    # `<column>_<suffix>`, and for crosses `<column>_x_<column>_<suffix>` (components/transform/compile.py).
    return output.startswith(f"{column}_") or f"_x_{column}_" in output
