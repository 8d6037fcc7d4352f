"""The transport by gRPC. The library is imported by the first client that needs it."""

from __future__ import annotations

import time
from typing import Any

from serving.client.calls import Call
from serving.client.errors import SendFailed
from serving.client.senders import Headers, distrusted
from serving.client.target import Address, Tls
from serving.model_server.errors import Code

TOO_LARGE = "message larger than max"


class BlockingGrpc:
    """gRPC in the calling thread. Safe for several threads."""

    concurrent = False

    def __init__(self, address: Address, tls: Tls | None) -> None:
        import grpc

        self._grpc = grpc
        self._channel = _channel(grpc, address, tls)

    async def send(self, call: Call, seconds: float, headers: Headers) -> bytes:
        """Sends a request once."""
        try:
            answer: bytes = self._channel.unary_unary(call.path)(call.body, timeout=seconds, metadata=headers)
            return answer
        except self._grpc.RpcError as error:
            raise _grpc_failure(error) from None

    async def sleep(self, seconds: float) -> None:
        """Blocks."""
        time.sleep(seconds)

    async def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class AsyncGrpc:
    """gRPC in an event loop, that of the first request."""

    concurrent = True

    def __init__(self, address: Address, tls: Tls | None) -> None:
        self._where = address, tls
        self._channel: Any = None

    async def send(self, call: Call, seconds: float, headers: Headers) -> bytes:
        """Sends a request once."""
        import grpc.aio

        if self._channel is None:
            self._channel = _channel(grpc.aio, *self._where)
        try:
            answer: bytes = await self._channel.unary_unary(call.path)(
                call.body, timeout=seconds, metadata=tuple(headers)
            )
            return answer
        except grpc.aio.AioRpcError as error:
            raise _grpc_failure(error) from None

    async def sleep(self, seconds: float) -> None:
        """Lets others work."""
        import asyncio

        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Closes the channel."""
        if self._channel is not None:
            await self._channel.close()


def _channel(module: Any, address: Address, tls: Tls | None) -> Any:
    """Makes a channel of `grpc` or `grpc.aio`."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        # It is this client that sends again; gRPC would do so unseen.
        ("grpc.enable_retries", 0),
        # Or a server that comes back is not found again for a minute.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_http_proxy", 0 if address.loopback else 1),
    ]
    if tls is None:
        return module.insecure_channel(str(address), options)
    import grpc

    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(tls.read(tls.ca), tls.read(tls.key), tls.read(tls.certificate))
    return module.secure_channel(str(address), credentials, options)


def _grpc_failure(error: Any) -> SendFailed:
    code = Code(error.code().value[0])
    message = error.details() or "the server gave no reason"
    pushback = {key: value for key, value in error.trailing_metadata() or ()}.get("grpc-retry-pushback-ms", "")
    return SendFailed(
        code,
        message,
        retry_after=int(pushback) / 1000 if str(pushback).isdigit() else None,
        final=TOO_LARGE in message or distrusted(message),
    )
