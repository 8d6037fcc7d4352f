"""Batching behind both APIs, for all methods, through swaps, and with callers who do not wait."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.model_server.batching import BatchedServable
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.loading import LoadOptions
from serving.model_server.manager import Manager
from serving.model_server.model_config import ModelConfig, ServerModels
from serving.model_server.rest_server import RestServer
from tests.serving.model_server.asking import offset, states
from tests.serving.model_server.batching_together import MINUTE, Runs, waiting
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.grpc_asking import METHODS, Asking, example_request, multi_request, predict_request
from tests.serving.model_server.rest_serving import post, serving
from tests.serving.model_server.toy_models import ToyModels, example, predict_log


def batching(**parameters: Any) -> LoadOptions:
    return LoadOptions(max_num_load_retries=0, batching=BatchingParameters(**parameters))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    runs = Runs(monkeypatch)
    yield runs
    runs.go()


@pytest.fixture
def pairs(toy_models: ToyModels, tmp_path: Path, make_manager: MakeManager) -> Manager:
    """A manager that serves the toy model as `toy`, and runs what two requests ask."""
    toy_models.write(tmp_path, 1)
    options = batching(max_batch_size=2, batch_timeout_micros=MINUTE)
    return make_manager(ServerModels.single("toy", tmp_path), load_options=options)


@contextmanager
def serving_asking(manager: Manager) -> Iterator[Asking]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/grpc"
        with Asking(manager, inline=False, port=None, socket_path=path, target=f"unix:{path}") as asking:
            yield asking


def waiting_for(manager: Manager) -> int:
    with manager.acquire(ModelSpecQuery("toy")) as lease:
        assert isinstance(lease.servable, BatchedServable)
        return waiting(lease.servable)


def test_all_methods_are_batched(pairs: Manager, runs: Runs) -> None:
    row = np.array([example(0.5)], object)
    requests: list[tuple[str, Any, Any]] = [
        ("Predict", predict_request(x=np.float32([1])), lambda a: a.outputs["y"].float_val[0] == 2.5),
        (
            "Classify",
            example_request(classification_pb2.ClassificationRequest, "classify", row),
            lambda a: [c.score for c in a.result.classifications[0].classes] == [0.5, 0.5],
        ),
        (
            "Regress",
            example_request(regression_pb2.RegressionRequest, "regress", row),
            lambda a: a.result.regressions[0].value == 2.25,
        ),
        (
            "MultiInference",
            multi_request(("regress", "regress"), ("classify", "classify"), examples=row),
            lambda a: a.results[0].regression_result.regressions[0].value == 2.25,
        ),
    ]
    with serving_asking(pairs) as asking, ThreadPoolExecutor(8) as executor:
        for _ in range(3):
            asked = [(executor.submit(asking, method, request), right) for method, request, right in requests * 2]
            assert all(right(one.result()) for one, right in asked)
    assert runs.sizes == [2] * 12


def test_both_apis_share_batches(pairs: Manager, runs: Runs) -> None:
    with serving_asking(pairs) as asking, serving(pairs, inline=False) as rest, ThreadPoolExecutor(2) as executor:
        by_rest = executor.submit(post, rest, b'{"instances": [4]}')
        by_grpc = executor.submit(asking, "Predict", predict_request(x=np.float32([1])))
        assert by_rest.result().json() == {"predictions": [4.0]}
        assert list(by_grpc.result().outputs["y"].float_val) == [2.5]
    assert runs.sizes == [2]


def test_a_rest_request_of_examples(pairs: Manager, runs: Runs) -> None:
    def ask(rest: RestServer, method: str) -> Any:
        body = b'{"signature_name": "%s", "examples": [{"x": 1.0}]}' % method.encode()
        return post(rest, body, f"/v1/models/toy:{method}").json()["results"]

    with serving(pairs, inline=False) as rest, ThreadPoolExecutor(4) as executor:
        asked = [executor.submit(ask, rest, method) for method in ("regress", "classify") * 2]
        assert [one.result() for one in asked] == [[2.5], [[["low", 0.0], ["high", 1.0]]]] * 2
    assert runs.sizes == [2, 2]


def test_a_caller_who_does_not_wait_takes_nobody_along(pairs: Manager, runs: Runs) -> None:
    with serving_asking(pairs) as asking:
        call = asking.channel.unary_unary(METHODS["Predict"])
        raw = predict_request(x=np.float32([1])).SerializeToString()
        with pytest.raises(grpc.RpcError) as caught:
            call(raw, timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # It was alone, and its row is still there.
        assert list(asking("Predict", predict_request(x=np.float32([3]))).outputs["y"].float_val) == [3.5]
        assert runs.sizes == [2]
        cancelled = call.future(raw)
        eventually(lambda: waiting_for(pairs) == 1)
        cancelled.cancel()
        assert list(asking("Predict", predict_request(x=np.float32([3]))).outputs["y"].float_val) == [3.5]
        assert runs.sizes == [2, 2]


def test_a_full_queue_is_unavailable(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path, runs: Runs
) -> None:
    toy_models.write(tmp_path, 1)
    options = batching(max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1)
    manager = make_manager(ServerModels.single("toy", tmp_path), load_options=options)
    words = (
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
        "max_enqueued_batches is 1"
    )
    runs.hold()
    with serving_asking(manager) as asking, serving(manager, inline=False) as rest, ThreadPoolExecutor(4) as executor:
        request = predict_request(x=np.float32([1]))
        asked = [executor.submit(asking, "Predict", request)]
        eventually(lambda: runs.sizes)
        asked.append(executor.submit(asking, "Predict", request))
        eventually(lambda: waiting_for(manager) == 1)
        assert asking.error("Predict", request) == ("UNAVAILABLE", words)
        refused = post(rest)
        assert (refused.status_code, refused.json()) == (503, {"error": words})
        runs.go()
        assert [list(one.result().outputs["y"].float_val) for one in asked] == [[2.5]] * 2


def test_versions_are_swapped_without_a_failed_request(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1.0)
    manager = make_manager(tmp_path, load_options=batching(batch_timeout_micros=1000, num_batch_threads=2))
    stop = threading.Event()

    def ask() -> set[float]:
        seen = set()
        while not stop.is_set():
            seen.add(offset(manager))
        return seen

    with ThreadPoolExecutor(4) as executor:
        asked = [executor.submit(ask) for _ in range(4)]
        try:
            for version in range(2, 6):
                toy_models.write(tmp_path, version, offset=float(version))
                eventually(lambda expected=version: states(manager).get(expected) == "AVAILABLE")
                eventually(lambda expected=version: states(manager)[expected - 1] == "END")
        finally:
            stop.set()
        seen = [one.result() for one in asked]
    assert set().union(*seen) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_models_share_the_threads_of_one_manager(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path, runs: Runs
) -> None:
    for name in "ab":
        toy_models.write(tmp_path / name, 1)
    models = ServerModels(tuple(ModelConfig(name, str(tmp_path / name)) for name in "ab"))
    options = batching(num_batch_threads=1, thread_pool_name="shared")
    manager = make_manager(models, load_options=options)
    assert [offset(manager, name=name) for name in "ab"] == [2.0, 2.0]
    assert runs.threads == ["shared_0"] * 2
    assert sum(thread.name == "shared_0" for thread in threading.enumerate()) == 1
    assert manager.stop(timeout=30)
    eventually(lambda: not any(thread.name == "shared_0" for thread in threading.enumerate()))


def test_warm_up_goes_the_same_way(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path, runs: Runs
) -> None:
    toy_models.write(tmp_path, 1, warm_up=[predict_log(x=np.float32([1, 2]))])
    make_manager(tmp_path, load_options=batching(thread_pool_name="warm"))
    assert [(size, name.startswith("warm_")) for size, name in zip(runs.sizes, runs.threads, strict=True)] == [
        (2, True)
    ]
    toy_models.write(tmp_path / "large", 1, warm_up=[predict_log(x=np.float32([1, 2]))])
    manager = make_manager(tmp_path / "large", load_options=batching(max_batch_size=1))
    assert manager.statuses("m")[0].message == "Task size 2 is larger than maximum input batch size 1"
