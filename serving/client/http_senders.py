"""The transport by HTTP. The library is imported by the first client that needs it."""

from __future__ import annotations

import json
import time
from typing import Any

from serving.client.calls import Call
from serving.client.errors import SendFailed
from serving.client.senders import Headers, distrusted
from serving.client.target import Address, Tls
from serving.model_server.errors import Code


class BlockingHttp:
    """HTTP in the calling thread. Safe for several threads."""

    concurrent = False

    def __init__(self, address: Address, tls: Tls | None) -> None:
        import httpx

        self._httpx = httpx
        self._client = httpx.Client(**_http_options(address, tls))
        self._extensions = _extensions(tls)

    async def send(self, call: Call, seconds: float, headers: Headers) -> bytes:
        """Sends a request once. Each read has the time that is left, so that a trickle of bytes ends too."""
        ends = time.monotonic() + seconds
        request = _request(self._client, call, seconds, headers, self._extensions)
        try:
            response = self._client.send(request, stream=True)
            try:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if time.monotonic() > ends:
                        raise self._httpx.ReadTimeout("the answer took too long", request=request)
            finally:
                response.close()
        except self._httpx.HTTPError as error:
            raise _http_failure(self._httpx, error) from None
        return _http_answer(response, bytes(body))

    async def sleep(self, seconds: float) -> None:
        """Blocks."""
        time.sleep(seconds)

    async def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class AsyncHttp:
    """HTTP in an event loop."""

    concurrent = True

    def __init__(self, address: Address, tls: Tls | None) -> None:
        import httpx

        self._httpx = httpx
        self._client = httpx.AsyncClient(**_http_options(address, tls))
        self._extensions = _extensions(tls)

    async def send(self, call: Call, seconds: float, headers: Headers) -> bytes:
        """Sends a request once."""
        import asyncio

        request = _request(self._client, call, seconds, headers, self._extensions)
        try:
            response = await asyncio.wait_for(self._client.send(request), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise SendFailed(Code.DEADLINE_EXCEEDED, "the answer took too long") from None
        except self._httpx.HTTPError as error:
            raise _http_failure(self._httpx, error) from None
        return _http_answer(response, response.content)

    async def sleep(self, seconds: float) -> None:
        """Lets others work."""
        import asyncio

        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _http_options(address: Address, tls: Tls | None) -> dict[str, Any]:
    verify: Any = False  # without TLS there is nothing to verify, and the system's authorities take long to read
    if tls is not None:
        import ssl

        verify = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        if tls.certificate is not None and tls.key is not None:
            verify.load_cert_chain(tls.certificate, tls.key)
    return {
        "base_url": f"{'http' if tls is None else 'https'}://{address}",
        "verify": verify,
        "trust_env": not address.loopback,
    }


def _extensions(tls: Tls | None) -> dict[str, Any]:
    return {} if tls is None or tls.server_name is None else {"sni_hostname": tls.server_name}


def _request(client: Any, call: Call, seconds: float, headers: Headers, extensions: dict[str, Any]) -> Any:
    kind = [] if call.get else [("content-type", "application/json")]
    return client.build_request(
        "GET" if call.get else "POST",
        call.path,
        content=None if call.get else call.body,
        headers=[*headers, *kind],
        timeout=seconds,
        extensions=extensions,
    )


_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ABORTED,
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    431: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


def _http_failure(httpx: Any, error: Any) -> SendFailed:
    if isinstance(error, httpx.TimeoutException):
        return SendFailed(Code.DEADLINE_EXCEEDED, "the answer took too long")
    message = str(error) or type(error).__name__
    return SendFailed(Code.UNAVAILABLE, message, final=distrusted(message))


def _http_answer(response: Any, body: bytes) -> bytes:
    if response.status_code == 200:
        return body
    message = body.decode("utf-8", "replace")[:1000].strip()
    try:
        message = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {response.status_code}: {message or response.reason_phrase}"
    wait = response.headers.get("retry-after", "")
    raise SendFailed(
        _CODES.get(response.status_code, Code.UNKNOWN),
        message,
        retry_after=float(wait) if wait.isdigit() else None,
        final=response.status_code in (413, 431),
    )
