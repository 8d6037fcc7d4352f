"""The health service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.model_server.manager import Manager
from tests.serving.model_server.grpc_asking import Asking, predict_request

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def asking(toy_manager: Manager) -> Iterator[Asking]:
    with Asking(toy_manager, health=True) as found:
        yield found


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_what_is_served_is_healthy(asking: Asking, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(asking.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60).status == SERVING


def test_an_unknown_service(asking: Asking) -> None:
    stub = health_pb2_grpc.HealthStub(asking.channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="Nothing"), timeout=60)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="Nothing"), timeout=60)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_no_health_request(asking: Asking) -> None:
    for method in ("Check", "Watch"):
        with pytest.raises(grpc.RpcError) as caught:
            list(asking.channel.unary_stream(f"/grpc.health.v1.Health/{method}")(b"\xff", timeout=60))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_there_is_none_unless_it_is_wanted(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking:
        assert asking.error("/grpc.health.v1.Health/Check", b"")[0] == "UNIMPLEMENTED"


def test_a_server_that_drains_says_so_and_finishes_what_it_has(toy_manager: Manager) -> None:
    with Asking(toy_manager, health=True) as asking, ThreadPoolExecutor(2) as executor:
        watch = health_pb2_grpc.HealthStub(asking.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == SERVING
        slow = executor.submit(asking, "Predict", predict_request("toy", "slow", loops=np.int64(200_000)))
        while not asking.server._access.under_way:
            pass
        # A watcher that stays would make it wait for all of the grace.
        stopping = executor.submit(asking.thread.stop, 60)
        assert next(watch).status == NOT_SERVING
        assert list(watch) == []
        assert list(slow.result().outputs["n"].int64_val) == [200_000]
        stopping.result(timeout=30)
        assert asking.error("Predict", predict_request(x=np.float32([1.0])))[0] == "UNAVAILABLE"
