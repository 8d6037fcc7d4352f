"""Which gRPC requests run in the event loop, and that none keeps the others waiting."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.model_server import grpc_inference
from serving.model_server.manager import Manager
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.grpc_asking import Asking, predict_request
from tests.serving.model_server.toy_models import ToyModels

X = np.float32([1.0, 2.0])


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which models ran, in order."""
    found: list[str] = []
    original = grpc_inference.InferenceCall._run

    def run(self: Any, *args: Any) -> bytes:
        found.append(threading.current_thread().name)
        return original(self, *args)

    monkeypatch.setattr(grpc_inference.InferenceCall, "_run", run)
    return found


def test_quick_requests_move_into_the_loop_and_large_ones_do_not(toy_manager: Manager, threads: list[str]) -> None:
    with Asking(toy_manager) as asking:
        for _ in range(200):
            asking("Predict", predict_request(x=X))
            if threads[-1] == "grpc-server":
                break
        assert threads[0].startswith("grpc_")
        assert threads[-1] == "grpc-server"
        for _ in range(50):
            asking("Predict", predict_request(x=np.zeros(17_000, np.float32)))
            assert threads[-1].startswith("grpc_")
        asking("Predict", predict_request(x=X))
        assert threads[-1] == "grpc-server"


def test_nothing_runs_in_the_loop_where_it_may_not(toy_manager: Manager, threads: list[str]) -> None:
    with Asking(toy_manager, inline=False) as asking:
        for _ in range(20):
            asking("Predict", predict_request(x=X))
    assert {name.startswith("grpc_") for name in threads} == {True}


def test_a_slow_request_keeps_no_other_waiting(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking, ThreadPoolExecutor(2) as executor:
        asking("Predict", predict_request(x=X))
        slow = executor.submit(asking, "Predict", predict_request("toy", "slow", loops=np.int64(500_000)))
        while not asking.server._access.under_way:
            pass
        for _ in range(5):
            asking("Predict", predict_request(x=X))
        assert not slow.done()
        assert slow.result().outputs["n"].int64_val[0] == 500_000


def test_many_at_once(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking, ThreadPoolExecutor(16) as executor:

        def ask(n: int) -> None:
            response = asking("Predict", predict_request(x=np.float32([n] * (n % 40 + 1))))
            assert list(response.outputs["y"].float_val) == [n / 2 + 2] * (n % 40 + 1)

        list(executor.map(ask, range(600)))
        assert asking.server._access.under_way == 0


def test_a_version_is_swapped_without_a_failed_request(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1.0)
    manager = make_manager(tmp_path)
    stop = threading.Event()
    with Asking(manager) as asking, ThreadPoolExecutor(4) as executor:

        def ask() -> list[tuple[int, float]]:
            seen = []
            while not stop.is_set():
                response = asking("Predict", predict_request("m", x=np.float32([0.0])))
                seen.append((response.model_spec.version.value, response.outputs["y"].float_val[0]))
            return seen

        clients = [executor.submit(ask) for _ in range(4)]
        try:
            for version in range(2, 6):
                toy_models.write(tmp_path, version, offset=float(version))
                deadline = time.monotonic() + 60
                while asking("Predict", predict_request("m", x=np.float32([0.0]))).model_spec.version.value < version:
                    assert time.monotonic() < deadline
        finally:
            stop.set()
        seen = [pair for client in clients for pair in client.result()]
    assert {version for version, _ in seen} >= {1, 5}
    assert all(version == value for version, value in seen)


def test_a_client_that_leaves_is_counted_out(toy_manager: Manager) -> None:
    with Asking(toy_manager, max_threads=1) as asking:
        calls = [
            asking.channel.unary_unary("/tensorflow.serving.PredictionService/Predict").future(
                predict_request("toy", "slow", loops=np.int64(n)).SerializeToString()
            )
            for n in (200_000, 200_001, 200_002)
        ]
        access = asking.server._access
        deadline = time.monotonic() + 60
        while access.under_way < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for call in calls:
            call.cancel()
        while access.under_way:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]
