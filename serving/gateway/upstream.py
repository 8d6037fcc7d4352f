"""The server behind the gateway, as the gateway itself asks it: which versions it has, and what they are like."""

from __future__ import annotations

import dataclasses
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError

from serving import messages
from serving.client.signatures import SignatureSpec, read_signatures
from serving.client.target import Address
from serving.gateway.request_wire import METHODS, with_version
from serving.gateway.statuses import code_of_grpc, code_of_http
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Exchange
from serving.model_server.version_state import State, VersionStatus

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Its callers retry; and a server next door is reached by no proxy.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # One that is started again is found again at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

_PATHS = {entrypoint: path for path, (entrypoint, _) in METHODS.items()}
_SHADOW_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Upstream:
    """Where the server is that answers.

    Attributes:
        grpc: gRPC's `HOST:PORT`, or `unix:PATH`.
        rest: REST's address, or None where it has no REST API.
    """

    grpc: str
    rest: Address | None = None


class UpstreamClient:
    """Asks the server by itself, not on behalf of a caller. Safe to use from several threads.

    Args:
        upstream: where it is.
        seconds: how long an answer may take.
    """

    def __init__(self, upstream: Upstream, seconds: float = 2.0) -> None:
        self._upstream = upstream
        self._seconds = seconds
        self._channel = grpc.insecure_channel(upstream.grpc, CHANNEL_OPTIONS)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def statuses(self, model: str) -> list[VersionStatus]:
        """Returns what the server says of a model's versions; none where it does not know the model.

        Raises:
            ServingError: it does not say.
        """
        request = messages.GetModelStatusRequest()
        request.model_spec.name = model
        try:
            answer = self._ask(messages.GET_MODEL_STATUS, request)
        except ServingError as error:
            if error.code is Code.NOT_FOUND:
                return []
            raise
        states, codes = {state.value: state for state in State}, {code.value: code for code in Code}
        return [
            VersionStatus(
                one.version,
                states.get(one.state, State.START),
                codes.get(one.status.error_code, Code.UNKNOWN),
                one.status.error_message,
            )
            for one in answer.model_version_status
        ]

    def signatures(self, model: str, version: int) -> Mapping[str, SignatureSpec]:
        """Returns a version's signatures; see `serving.capture.rest_messages.FindSignatures`.

        Raises:
            ServingError: the server does not tell them.
        """
        request = messages.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name, request.model_spec.version.value = model, version
        found = messages.SignatureDefMap()
        self._ask(messages.GET_MODEL_METADATA, request).metadata["signature_def"].Unpack(found)
        return read_signatures(found)

    def reload(self, config: Any) -> None:
        """Gives the server a model config.

        Args:
            config: a `serving.messages.ModelServerConfig`.

        Raises:
            ServingError: it refuses it, or loads a new model still.
        """
        request = messages.ReloadConfigRequest()
        request.config.CopyFrom(config)
        status = self._ask(messages.RELOAD_CONFIG, request).status
        if status.error_code:
            raise ServingError(Code.FAILED_PRECONDITION, status.error_message)

    def again(self, exchange: Exchange, version: int) -> bytes:
        """Returns what a version answers to a request that another one has had; see `line_server.shadow.Ask`.

        Raises:
            ServingError: the version refuses it, or is not there.
        """
        if exchange.api == "REST":
            return self._by_rest(exchange, version)
        try:
            request = with_version(exchange.entrypoint, exchange.request, version)
        except ValueError as error:
            raise ServingError(Code.INVALID_ARGUMENT, str(error)) from error
        return self._call(_PATHS[exchange.entrypoint], request, _SHADOW_SECONDS)

    def _by_rest(self, exchange: Exchange, version: int) -> bytes:
        rest = self._upstream.rest
        assert rest is not None  # or else no such request would have been answered
        connection = http.client.HTTPConnection(rest.host, rest.port, timeout=_SHADOW_SECONDS)
        path = f"/v1/models/{quote(exchange.model, safe='')}/versions/{version}:{exchange.entrypoint.lower()}"
        try:
            connection.request("POST", path, exchange.request, {"content-type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServingError(Code.UNAVAILABLE, f"{unreachable(rest)} ({error})") from error
        finally:
            connection.close()
        code = code_of_http(response.status)
        if code is not Code.OK:
            raise ServingError(code, error_of(body))
        return body

    def _ask(self, method: messages.Method, request: Any) -> Any:
        raw = self._call(method.path, request.SerializeToString(), self._seconds)
        try:
            return method.response.FromString(raw)
        except DecodeError as error:
            raise ServingError(Code.INTERNAL, f"{self._upstream.grpc} does not speak this protocol") from error

    def _call(self, path: str, raw: bytes, seconds: float) -> bytes:
        try:
            answer: bytes = self._channel.unary_unary(path)(raw, timeout=seconds)
            return answer
        except grpc.RpcError as error:
            raise ServingError(code_of_grpc(error.code()), error.details() or "") from error


def unreachable(address: object) -> str:
    """Returns what callers are told when the server does not answer."""
    return f"The model server at {address} does not answer; start it, or correct the gateway's upstream"


def error_of(body: bytes) -> str:
    """Returns the message of a REST answer that is an error, or an empty text."""
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    message = document.get("error", "") if isinstance(document, dict) else ""
    return message if isinstance(message, str) else ""
