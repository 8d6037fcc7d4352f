"""Calls of the REST application without a network."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from serving.model_server.access import Access
from serving.model_server.rest_app import RestApp


class RestCalls:
    """Makes requests to a REST application, each in an event loop of its own.

    Args:
        manager: what it serves.
        options: of `RestApp`.
    """

    def __init__(self, manager: Any, **options: Any) -> None:
        self.executor = ThreadPoolExecutor(2)
        self.app = RestApp(manager, self.executor, access=options.pop("access", None) or Access(), **options)

    def __call__(
        self, method: str, path: str, body: bytes | str | dict[str, Any] = b"", **headers: str
    ) -> httpx.Response:
        """Makes a request. In the names of headers `_` stands for `-`."""
        content = json.dumps(body) if isinstance(body, dict) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                return await client.request(method, path, content=content, headers=named)

        return asyncio.run(call())

    def predict(self, body: bytes | str | dict[str, Any], model: str = "toy", **headers: str) -> httpx.Response:
        """Makes a predict request."""
        return self("POST", f"/v1/models/{model}:predict", body, **headers)


def outcome(response: httpx.Response) -> tuple[int, Any]:
    """Returns a response's status, and its JSON or (of an error) its message."""
    answer = response.json()
    return response.status_code, answer["error"] if set(answer) == {"error"} else answer
