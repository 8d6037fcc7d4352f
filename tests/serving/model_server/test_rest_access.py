"""Tokens, TLS and the hooks of the REST server."""

from __future__ import annotations

import gzip
import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.model_server.access import Access
from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange, ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.metrics import PATH, Metrics
from serving.model_server.tls import Tls
from serving.model_server.tokens import TokenFile
from tests.serving.model_server.certificates import Authority, written
from tests.serving.model_server.rest_calls import RestCalls, outcome
from tests.serving.model_server.rest_serving import ROW, Raw, serving

# Tokens


@pytest.fixture
def guarded(toy_manager: Manager, tmp_path: Path) -> RestCalls:
    file = tmp_path / "tokens"
    file.write_text("read reader-secret\nadmin admin-secret\n")
    file.chmod(0o600)
    access = Access(tokens=TokenFile(file))
    return RestCalls(toy_manager, access=access, metrics=Metrics(), metrics_path=PATH, probes=True, cors=True)


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic reader-secret"}])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models/toy"), ("POST", "/v1/models/toy:predict"), ("PUT", "/v1/x"), ("GET", PATH)]
)
def test_without_a_token_there_is_no_answer(guarded: RestCalls, method: str, path: str, header: dict[str, str]) -> None:
    response = guarded(method, path, ROW, **header)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "authorization: Bearer TOKEN" in response.json()["error"]
    assert "secret" not in response.text and "wrong" not in response.text


@pytest.mark.parametrize("token", ["reader-secret", "admin-secret"])
def test_with_a_token_there_is(guarded: RestCalls, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    assert outcome(guarded("POST", "/v1/models/toy:predict", ROW, **headers)) == (200, {"predictions": [3.0]})
    assert guarded("GET", PATH, **headers).status_code == 200


def test_a_body_without_a_token_is_not_waited_for(toy_manager: Manager, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("read secret\n")
    file.chmod(0o600)
    with serving(toy_manager, access=Access(tokens=TokenFile(file))) as server:
        begin = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{"
        assert Raw(server).send(begin).answer()[0] == 401


def test_probes_and_preflights_need_no_token(guarded: RestCalls) -> None:
    assert guarded("GET", "/healthz").status_code == 200
    response = guarded("OPTIONS", "/v1/models/toy:predict", origin="https://a.b")
    assert response.status_code == 200
    assert response.headers["access-control-allow-headers"] == "Content-Type, Authorization"


def test_refused_requests_name_no_model_in_the_metrics(guarded: RestCalls) -> None:
    guarded("POST", "/v1/models/guess:predict", ROW)
    page = guarded("GET", PATH, authorization="Bearer reader-secret").text
    assert ':tensorflow:serving:request_count{model_name="",status="UNAUTHENTICATED"} 1' in page
    assert "guess" not in page


# TLS


def client(authority: Authority, tmp_path: Path, certificate: tuple[bytes, bytes] | None = None) -> httpx.Client:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if certificate is not None:
        context.load_cert_chain(*written(tmp_path / "client", *certificate))
    return httpx.Client(verify=context)


def test_tls(toy_manager: Manager, tmp_path: Path) -> None:
    authority = Authority()
    with serving(toy_manager, access=Access(tls=Tls(*authority.issue()))) as server:
        url = f"https://127.0.0.1:{server.port}/v1/models/toy:predict"
        with client(authority, tmp_path) as known:
            assert known.post(url, content=ROW).json() == {"predictions": [3.0]}
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client(Authority("another"), tmp_path).post(url, content=ROW)
        with pytest.raises(httpx.HTTPError):
            httpx.post(url.replace("https", "http"), content=ROW)
        # Whoever speaks no TLS keeps nobody else from it.
        with client(authority, tmp_path) as known:
            assert known.post(url, content=ROW).status_code == 200


def test_clients_must_show_certificates_where_that_is_asked_for(toy_manager: Manager, tmp_path: Path) -> None:
    authority, clients, strangers = Authority(), Authority("clients"), Authority("strangers")
    tls = Tls(*authority.issue(), custom_ca=clients.pem, client_verify=True)
    with serving(toy_manager, access=Access(tls=tls)) as server:
        url = f"https://127.0.0.1:{server.port}/v1/models/toy:predict"
        with client(authority, tmp_path, clients.issue("a client")) as known:
            assert known.post(url, content=ROW).json() == {"predictions": [3.0]}
        for certificate in (None, strangers.issue("a stranger")):
            with pytest.raises(httpx.HTTPError):
                client(authority, tmp_path, certificate).post(url, content=ROW)


# Hooks


class Recorder:
    """Hooks that send `routed` to `toy`, and keep what was done."""

    def __init__(self) -> None:
        self.routed: list[tuple[ModelSpecQuery, str, str]] = []
        self.exchanges: list[Exchange] = []

    def route(self, query: ModelSpecQuery, caller_key: str, request_id: str) -> ModelSpecQuery:
        self.routed.append((query, caller_key, request_id))
        return ModelSpecQuery("toy", version=1) if query.name == "routed" else query

    def done(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


def test_an_exchange_is_noted(toy_manager: Manager) -> None:
    hooks = Recorder()
    calls = RestCalls(toy_manager, hooks=hooks)
    body = b'{"signature_name": "regress", "examples": [{"x": 4.0}]}'
    response = calls("POST", "/v1/models/routed/labels/l:regress", body, x_request_id="r1", x_caller_key="k1")
    assert response.json() == {"results": [4.0]}
    assert hooks.routed == [(ModelSpecQuery("routed", label="l"), "k1", "r1")]
    [exchange] = hooks.exchanges
    assert 0 < exchange.seconds < 60
    assert exchange.started > 1.7e9
    assert exchange == Exchange(
        api="REST",
        entrypoint="Regress",
        model="routed",
        version=1,
        signature="regress",
        request=body,
        response=response.content,
        code=Code.OK,
        message="",
        request_id="r1",
        caller_key="k1",
        started=exchange.started,
        seconds=exchange.seconds,
    )


def test_what_is_noted_is_unpacked(toy_manager: Manager) -> None:
    hooks = Recorder()
    RestCalls(toy_manager, hooks=hooks).predict(gzip.compress(ROW), content_encoding="gzip")
    assert hooks.exchanges[0].request == ROW


def test_what_was_read_and_answered_is_handed_on_so_that_nobody_reads_it_again(toy_manager: Manager) -> None:
    hooks = Recorder()
    calls = RestCalls(toy_manager, hooks=hooks)
    calls.predict(b'{"instances": [2.0, 3.0]}')
    tensors = hooks.exchanges[0].tensors
    assert tensors is not None
    assert [array.tolist() for array in tensors.inputs.values()] == [[2.0, 3.0]]
    assert json.loads(hooks.exchanges[0].response)["predictions"] == [
        output for array in tensors.outputs.values() for output in array.tolist()
    ]
    # A queue is bounded by the bodies' bytes.
    calls.predict(b'{"instances": [2.0]' + b" " * 70_000 + b"}")
    assert hooks.exchanges[1].code == Code.OK
    assert hooks.exchanges[1].tensors is None


@pytest.mark.parametrize(
    ("body", "code", "version", "message"),
    [
        (b"", Code.INVALID_ARGUMENT, None, "JSON Parse error: The document is empty"),
        (b'{"instances": [2], "signature_name": "s"}', Code.INVALID_ARGUMENT, 1, 'Serving signature name: "s" not '),
    ],
)
def test_a_failure_is_noted_too(
    toy_manager: Manager, body: bytes, code: Code, version: int | None, message: str
) -> None:
    hooks = Recorder()
    response = RestCalls(toy_manager, hooks=hooks).predict(body)
    [exchange] = hooks.exchanges
    assert (exchange.code, exchange.version, exchange.request, exchange.response) == (code, version, body, b"")
    assert exchange.message == response.json()["error"]
    assert exchange.message.startswith(message)
    assert exchange.request_id == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (b'{"instances": [{"a\xff": 1}]}', ""),
        (b'{"instances": [1], "signature_name": "s\xff"}', "s\N{REPLACEMENT CHARACTER}"),
        (b'{"inputs": ["\xff"]}', ""),
    ],
)
def test_what_is_noted_can_be_written_down(toy_manager: Manager, body: bytes, signature: str) -> None:
    hooks = Recorder()
    response = RestCalls(toy_manager, hooks=hooks).predict(body)
    assert response.status_code == 400
    [exchange] = hooks.exchanges
    assert exchange.signature == signature
    assert "\N{REPLACEMENT CHARACTER}" in exchange.message
    assert json.loads(response.content.decode()) == {"error": exchange.message}


def test_what_is_no_prediction_is_not_noted(toy_manager: Manager) -> None:
    hooks = Recorder()
    calls = RestCalls(toy_manager, hooks=hooks)
    calls("GET", "/v1/models/toy")
    calls("GET", "/v1/models/toy/metadata")
    calls("POST", "/v1/models/toy:train", ROW)
    assert hooks.exchanges == []


def test_hooks_that_fail_fail_no_request(toy_manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def route(self, *_: Any) -> ModelSpecQuery:
            raise OSError("no route")

        def done(self, _: Exchange) -> None:
            raise OSError("disk full")

    calls = RestCalls(toy_manager, hooks=Broken())
    assert outcome(calls.predict(ROW, x_request_id="r9")) == (200, {"predictions": [3.0]})
    assert "request r9 is not routed" in caplog.text
    assert "request r9 is not noted" in caplog.text
