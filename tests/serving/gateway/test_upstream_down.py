"""A server that is not there, or not yet, or no more: what callers are told, and what the probes say."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from serving import messages
from serving.client.target import Address
from serving.gateway.upstream import Upstream
from serving.model_server.grpc_server import GrpcServer, GrpcThread
from serving.model_server.rest_server import RestServer
from tests.serving.gateway.conftest import Behind, MakeGateway, predict_request, until
from tests.serving.line_server.conftest import ToyLine


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Two ports at which nobody listens, and which nobody else is given."""
    with socket.socket() as one, socket.socket() as other:
        for found in (one, other):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(("127.0.0.1", 0))
        yield one.getsockname()[1], other.getsockname()[1]


def test_nobody_there(toy_line: ToyLine, make_gateway: MakeGateway, ports: tuple[int, int]) -> None:
    port, rest_port = ports
    toy_line.push(1)
    _, asker = make_gateway(Upstream(f"127.0.0.1:{port}", Address("127.0.0.1", rest_port)))
    for path in (messages.PREDICT.path, messages.GET_MODEL_STATUS.path, messages.HEALTH_CHECK.path, "/a.B/C"):
        error = asker.error(path, predict_request())
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert f"The model server at 127.0.0.1:{port} does not answer; start it" in error.details()
    for path in ("/v1/models/toy:predict", "/v1/models/m:predict", "/x"):
        response = asker.post(path=path)
        assert response.status_code == 503
        assert f"The model server at 127.0.0.1:{rest_port} does not answer; start it" in response.json()["error"]
    assert asker.http.get("/healthz").status_code == 200
    assert asker.http.get("/readyz").status_code == 503


def test_without_rest_behind_it_rest_says_so(behind: Behind, make_gateway: MakeGateway) -> None:
    _, asker = make_gateway(Upstream(behind.upstream.grpc))
    response = asker.post()
    assert response.status_code == 501 and "--rest-upstream" in response.json()["error"]
    assert asker.http.get("/healthz").status_code == 200


def test_a_server_that_goes_is_missed_and_found_again(
    toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway, ports: tuple[int, int]
) -> None:
    toy_line.push(1)
    port, rest_port = ports
    upstream = Upstream(f"127.0.0.1:{port}", Address("127.0.0.1", rest_port))
    gateway, asker = make_gateway(upstream)
    for _ in range(2):
        by_grpc = GrpcThread(GrpcServer(behind.manager, address="127.0.0.1", port=port))
        by_rest = RestServer(behind.manager, address="127.0.0.1", port=rest_port)
        by_grpc.start()
        by_rest.start()
        until(lambda: asker.http.get("/readyz").status_code == 200)
        assert asker.predict() == (1, 1.0) and asker.post().status_code == 200
        by_grpc.stop(0)
        by_rest.stop(0)
        until(lambda: asker.http.get("/readyz").status_code == 503)
        assert asker.post().status_code == 503


def test_it_is_not_ready_before_the_live_version_is_there(
    toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway
) -> None:
    toy_line.record(1, "0" * 64)
    _, asker = make_gateway(behind.upstream)
    assert asker.http.get("/readyz").status_code == 503
    toy_line._models.write(toy_line.base, 1, offset=1.0)
    until(lambda: asker.http.get("/readyz").status_code == 200)


def test_a_server_that_says_no_versions_is_passed_on_to(tmp_path: Path, make_gateway: MakeGateway) -> None:
    """Without a ledger the gateway leads nobody."""
    server = Behind(tmp_path / "models")
    try:
        _, asker = make_gateway(server.upstream)
        with pytest.raises(grpc.RpcError, match="Servable not found for request: Latest"):
            asker.predict()
        assert asker.post().json() == {"error": "Servable not found for request: Latest(toy)"}
    finally:
        server.stop()
