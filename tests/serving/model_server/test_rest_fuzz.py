"""Whatever comes, the REST server answers it, in JSON or as HTTP has it, and goes on serving."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.model_server.access import Access, Limits
from serving.model_server.manager import Manager
from serving.model_server.rest_server import RestServer
from tests.serving.model_server.toy_models import DTYPES

ROW = b'{"instances": [2]}'
# Many are left out of account: what is wrong with one of them is found within these.
EXAMPLES = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


@pytest.fixture(scope="module")
def server(toy_manager: Manager) -> Iterator[RestServer]:
    access = Access(limits=Limits(message_bytes=200_000, header_bytes=4096))
    server = RestServer(toy_manager, address="127.0.0.1", access=access, num_threads=2, timeout_seconds=60)
    server.start()
    yield server
    server.stop(grace=5)


@pytest.fixture(scope="module")
def client(server: RestServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client:
        yield client


def check(response: httpx.Response) -> None:
    """An answer, or an error that is not ours."""
    assert response.status_code in (200, 400, 404, 413, 431, 501), response.text
    assert "Traceback" not in response.text
    if response.content and response.headers.get("content-type") == "application/json":
        answer = json.loads(response.content.decode("utf-8", "surrogateescape"))
        assert ("error" in answer) == (response.status_code != 200)


SIGNATURES = st.sampled_from(
    ["serving_default", "predict_multi", "matrix", "any_shape", "all_types", "classify", "regress", "uneven", "", "\0"]
)
CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
VALUES = st.recursive(
    CELLS | st.fixed_dictionaries({"b64": st.text("AQgw=", max_size=8)}),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["x", "m", "words", "counts", *DTYPES, "b64"]), inner, max_size=3)
    ),
    max_leaves=15,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": SIGNATURES | CELLS,
        "instances": VALUES | st.lists(VALUES, max_size=3),
        "inputs": VALUES,
        "examples": VALUES | st.lists(VALUES, max_size=3),
        "context": VALUES,
    },
)
ACTIONS = st.sampled_from(["predict", "classify", "regress"])


@EXAMPLES
@given(ACTIONS, REQUESTS)
def test_requests_of_any_content(client: httpx.Client, action: str, request: dict[str, Any]) -> None:
    body = json.dumps(request).encode("utf-8", "surrogatepass")
    check(client.post(f"/v1/models/toy:{action}", content=body))


@EXAMPLES
@given(ACTIONS, REQUESTS, st.data())
def test_requests_with_wrong_bytes(client: httpx.Client, action: str, request: dict[str, Any], data: Any) -> None:
    body = bytearray(json.dumps(request).encode("utf-8", "surrogatepass"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        kind = data.draw(st.sampled_from(["change", "insert", "delete", "cut"]))
        if kind == "change":
            body[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            body[at:at] = data.draw(st.binary(max_size=5))
        else:
            del body[at : at + 1 if kind == "delete" else None]
        if not body:
            break
    check(client.post(f"/v1/models/toy:{action}", content=bytes(body)))


@EXAMPLES
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_for_gzip(client: httpx.Client, content: bytes, packed: bool) -> None:
    body = gzip.compress(content) if packed else content
    check(client.post("/v1/models/toy:predict", content=body, headers={"content-encoding": "gzip"}))


PATHS = st.text("/v1models:toypredict%20?#.-ABC\\\"'<>{}|^~@!$&()*+,;=[]", max_size=40)


@EXAMPLES
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]), PATHS)
def test_any_path(client: httpx.Client, method: str, path: str) -> None:
    check(client.request(method, f"/v1/models{path}", content=ROW))


@EXAMPLES
@given(
    st.lists(
        st.sampled_from(
            [b"POST /v1/models/toy:predict HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: x\r\n", b"\r\n", b"\r\n\r\n"]
            + [b"Content-Length: 18\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"12\r\n", ROW]
            + [b"0\r\n\r\n", b"Expect: 100-continue\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"\0", b" "]
            + [b"Connection: close\r\n", b"X: \xff\r\n", b"ffffffffffffffff\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        ),
        max_size=12,
    )
)
def test_any_http(server: RestServer, client: httpx.Client, parts: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(b"".join(parts))
        connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
    assert not received or received.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in received
    assert client.post("/v1/models/toy:predict", content=ROW).json() == {"predictions": [3.0]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": ' + b"[" * 90_000 + b"]" * 90_000 + b"}",
        b'{"instances": [' + b'{"x":' * 15_000 + b"1" + b"}" * 15_000 + b"]}",
        b'{"instances": [' + b"1e308," * 30_000 + b"1]}",
        b'{"instances": [' + b"9" * 190_000 + b"]}",
        b'{"instances": [0.' + b"1" * 190_000 + b"]}",
        b'{"inputs": ["' + b"\\ud83d\\ude00" * 15_000 + b'"]}',
        b'{"inputs": {"b64": "' + b"A" * 190_000 + b'"}}',
        b'{"signature_name": "' + b"s" * 190_000 + b'"}',
        b'{"instances": [' + b"[1]," * 45_000 + b"[1, 2]]}",
        b'{"instances": [' + b'{"a":1},' * 20_000 + b"{}]}",
        b"{" + b'"instances":[1],' * 10_000 + b'"a":1}',
        b'{"examples": [' + b'{"x":1.0},' * 15_000 + b'{"x":null}]}',
        b"\xff" * 190_000,
        b"\0" * 190_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_large_hostile_bodies(client: httpx.Client, body: bytes) -> None:
    for action in ("predict", "classify"):
        check(client.post(f"/v1/models/toy:{action}", content=body))
    assert client.post("/v1/models/toy:predict", content=ROW).json() == {"predictions": [3.0]}
