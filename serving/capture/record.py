"""Makes a record of an exchange: which folder it belongs to, and its bytes.

What went over the wire by gRPC is joined to a PredictionLog as it is, byte by byte; only columns that are to be left
out or hashed make it necessary to take a message apart.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Callable

from google.protobuf.message import DecodeError

from serving.capture.capture_file import folder_of
from serving.capture.log_format import LOG_FIELDS, LOGS, METADATA_FIELD, Log, Record
from serving.capture.quick_tensors import varint
from serving.capture.redaction import Redaction
from serving.capture.rest_messages import NotConverted, RestMessages, request_spec
from serving.capture.tfrecord import frame
from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange
from serving.model_server.wire import delimited

_TIMES = struct.Struct("<BdBd").pack
_STARTED_KEY, _SECONDS_KEY = 4 << 3 | 1, 5 << 3 | 1
_CAPTURE_KEY = varint(METADATA_FIELD << 3 | 2)
_LOG_KEYS = {entrypoint: varint(field << 3 | 2) for entrypoint, field in LOG_FIELDS.items()}


@dataclasses.dataclass(frozen=True)
class ShadowExchange(Exchange):
    """A request that was copied to another version, with an answer that the caller never got.

    Attributes:
        of_version: the version that answered the caller, or None when none did.
        max_abs_difference: the largest difference between two numbers of both answers, or None.
        class_agreement: the share of rows in which both answers name the same class, or None.
    """

    of_version: int | None = None
    max_abs_difference: float | None = None
    class_agreement: float | None = None


class RecordMaker:
    """Makes records. Not thread-safe.

    Args:
        line: the line's name.
        sampling_rate: the share of requests that is kept.
        redaction: what is left out and hashed, or None.
        rest: makes messages of REST bodies.
        incomplete: is called for each record that has no request and answer which standard readers know.
    """

    def __init__(
        self,
        line: str,
        sampling_rate: float,
        redaction: Redaction | None,
        rest: RestMessages,
        incomplete: Callable[[], object],
    ) -> None:
        self._line = delimited(2, line.encode())
        self._sampling_rate = sampling_rate
        self._redaction = redaction
        self._rest = rest
        self._incomplete = incomplete

    def make(self, exchange: Exchange) -> tuple[str, bytes]:
        """Returns an exchange's folder and framed record.

        Raises:
            Exception: of any kind, for an exchange of which no record can be made.
        """
        shadow = isinstance(exchange, ShadowExchange)
        log, raw = self._log(exchange)
        capture = b"".join((*self._metadata(exchange), *raw))
        metadata = (
            _head(exchange.model, exchange.version, exchange.signature, self._sampling_rate),
            b"\x20",
            varint(int(exchange.started)),
            _CAPTURE_KEY,
            varint(len(capture)),
            capture,
        )
        size = varint(sum(map(len, metadata)))
        record = b"".join((b"\x0a", size, *metadata, _LOG_KEYS[exchange.entrypoint], varint(len(log)), log))
        return folder_of(exchange.started, exchange.version, shadow), frame(record)

    def _log(self, exchange: Exchange) -> tuple[bytes, tuple[bytes, ...]]:
        """Returns request and answer as a PredictLog or its like, and the fields of bodies that are no messages."""
        failed = exchange.code != Code.OK
        if failed and self._redaction is not None:
            # A request that is refused may have values in places that nobody looked for: a misspelt column.
            return _log(request_spec(exchange)), ()
        try:
            return self._whole_log(exchange, failed), ()
        except (NotConverted, DecodeError):
            self._incomplete()
        if self._redaction is not None:
            return _log(request_spec(exchange)), ()
        return _log(request_spec(exchange)), (delimited(9, exchange.request), delimited(10, exchange.response))

    def _whole_log(self, exchange: Exchange, failed: bool) -> bytes:
        if exchange.api == "REST":
            request = self._rest.request(exchange)
            response = b"" if failed else self._rest.response(exchange)
        else:
            request, response = exchange.request, exchange.response
        if self._redaction is not None:
            request = self._redaction.request(exchange.entrypoint, request)
            response = self._redaction.response(exchange.entrypoint, response)
        log = _log(request, response)
        if exchange.api == "gRPC":
            # What is no message would make all of its record none. What went well was read by a server before, but
            # protobuf 3.20 overlooks whatever stands behind a message's end unless that is within another message.
            (LOGS[exchange.entrypoint] if failed else Log).FromString(log)
        return log

    def _metadata(self, exchange: Exchange) -> list[bytes]:
        parts = [
            delimited(1, _utf8(exchange.request_id)),
            self._line,
            _TIMES(_STARTED_KEY, exchange.started, _SECONDS_KEY, exchange.seconds),
            _REST if exchange.api == "REST" else _GRPC,
        ]
        if exchange.caller_key:
            parts.append(delimited(3, _utf8(exchange.caller_key)))
        if exchange.code != Code.OK:
            parts.append(b"\x38" + varint(int(exchange.code)))
            if self._redaction is None:
                # It may quote values.
                parts.append(delimited(8, _utf8(exchange.message)))
        if isinstance(exchange, ShadowExchange):
            parts.append(_shadow(exchange))
        return parts


def _log(request: bytes, response: bytes = b"") -> bytes:
    return delimited(1, request) + delimited(2, response) if response else delimited(1, request)


_REST = delimited(6, b"REST")
_GRPC = delimited(6, b"gRPC")


def _shadow(exchange: ShadowExchange) -> bytes:
    record = Record()
    shadow = record.log_metadata.capture.shadow
    shadow.SetInParent()
    for name in ("of_version", "max_abs_difference", "class_agreement"):
        value = getattr(exchange, name)
        if value is not None:
            setattr(shadow, name, value)
    return bytes(record.log_metadata.capture.SerializeToString())


@functools.lru_cache(maxsize=1024)
def _head(model: str, version: int | None, signature: str, sampling_rate: float) -> bytes:
    """Returns what is the same in the LogMetadata of many exchanges."""
    record = Record()
    metadata = record.log_metadata
    metadata.model_spec.name = _utf8(model).decode()
    if version is not None:
        metadata.model_spec.version.value = version
    metadata.model_spec.signature_name = _utf8(signature).decode()
    metadata.sampling_config.sampling_rate = sampling_rate
    metadata.saved_model_tags.append("serve")
    return bytes(metadata.SerializeToString())


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
