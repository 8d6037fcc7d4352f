"""What the tests of the client share: a fake server, and a client of each kind."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving.client import AsyncClient, Client, Retry
from serving.client.target import Api
from tests.serving.client.fake_model import FakeModel
from tests.serving.client.fake_server import grpc_server, http_server


@pytest.fixture
def model() -> FakeModel:
    """The model behind the fake servers."""
    return FakeModel()


@pytest.fixture
def grpc_port(model: FakeModel) -> Iterator[int]:
    """The port of a fake gRPC server."""
    yield from grpc_server(model)


@pytest.fixture
def http_port(model: FakeModel) -> Iterator[int]:
    """The port of a fake REST server."""
    yield from http_server(model)


@pytest.fixture(params=["gRPC", "REST"])
def api(request: pytest.FixtureRequest) -> Api:
    """Each API."""
    chosen: Api = request.param
    return chosen


@pytest.fixture
def address(request: pytest.FixtureRequest, api: Api) -> str:
    """The address of a fake server of that API."""
    return f"127.0.0.1:{request.getfixturevalue('grpc_port' if api == 'gRPC' else 'http_port')}"


class OneLoop:
    """An asynchronous client, called like the blocking one: each call runs in one event loop of its own thread."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def make() -> AsyncClient:
            return AsyncClient(*args, **options)

        self._client = self._do(make())

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute
        return lambda *args, **options: self._do(attribute(*args, **options))

    def end(self) -> None:
        """Closes the client and the loop."""
        self._do(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, api: Api, address: str) -> Iterator[Callable[..., Any]]:
    """Makes clients of the fake server: sync and async, of each API. They wait next to nothing between attempts."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Any:
            options = {"api": api, "retry": Retry(first_seconds=0.001, max_seconds=0.002), **options}
            where = options.pop("address", address)
            if request.param == "sync":
                client: Any = Client("people", where, **options)
                stack.callback(client.close)
            else:
                client = OneLoop("people", where, **options)
                stack.callback(client.end)
            return client

        yield make
