"""Requests that are there at the same moment run as one, and none can tell."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.gathering import MAX_REQUESTS, Gatherer
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.pace import Pace
from serving.model_server.predict_frame import frame_of
from serving.model_server.predict_plan import Binding, Plan, Planned
from serving.v1_loader import Signature, TensorInfo
from tests.serving.model_server.grpc_asking import predict_request

KIND = "kind"
INFO = {key: TensorInfo(f"{key}:0", "float32", None) for key in ("x", "y")}
SIGNATURE = Signature("serving_default", "", INFO, INFO, {})


class Doubling:
    """Answers `y`, twice `x`, and keeps the batch sizes that it was asked for."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, _: Signature, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        self.batches.append(len(feeds["x"]))
        if np.isnan(feeds["x"]).any():
            raise ServingError(Code.INVALID_ARGUMENT, "x is not a number")
        return [feeds["x"] * 2 for _ in fetches]


class Summing(Doubling):
    """Answers one number for the whole batch."""

    def run(self, _: Signature, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        self.batches.append(len(feeds["x"]))
        return [feeds["x"].sum(keepdims=True).reshape(1)]


class FakeLease:
    """A lease; `held` counts those of the same version that have not ended."""

    def __init__(self, servable: Any, held: list[int] | None = None) -> None:
        self.servable = servable
        self.held = [0] if held is None else held
        self.held[0] += 1

    def another(self) -> FakeLease:
        return FakeLease(self.servable, self.held)

    def release(self) -> None:
        self.held[0] -= 1


@pytest.fixture
def pace() -> Pace:
    pace = Pace()
    pace.took(KIND, 0.0)
    assert pace.is_quick(KIND)
    return pace


@functools.cache
def plan_of(rows: int) -> Plan:
    request = predict_request("m", x=np.zeros(rows, np.float32))
    frame = frame_of(request.SerializeToString(), request)
    assert frame is not None
    return Plan(request, ModelSpecQuery("m"), frame)


async def ask(gatherer: Gatherer, servable: Any, *values: float, kind: str = KIND) -> list[np.ndarray] | None:
    lease: Any = servable if isinstance(servable, FakeLease) else FakeLease(servable)
    planned = Planned(plan_of(len(values)), [np.array(values, np.float32).tobytes()])
    return await gatherer.run(kind, lease, planned, Binding(weakref.ref(lease.servable), SIGNATURE, ["y"]))


@pytest.fixture
def gatherer(pace: Pace) -> Iterator[Gatherer]:
    gatherer = Gatherer(pace)
    gatherer.present = 2
    yield gatherer
    gatherer.close()


def all_of(*asked: Any) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(together())


def test_requests_that_are_there_together_run_once_and_each_gets_its_rows(gatherer: Gatherer) -> None:
    model = Doubling()
    answers = all_of(*[ask(gatherer, model, n, n + 0.5) for n in (1.0, 2.0, 3.0)])
    assert [answer[0].tolist() for answer in answers] == [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    assert model.batches == [6]


def test_requests_of_another_form_run_by_themselves(gatherer: Gatherer) -> None:
    model = Doubling()
    answers = all_of(ask(gatherer, model, 1.0), ask(gatherer, model, 2.0, 3.0), ask(gatherer, model, 4.0))
    assert [answer[0].tolist() for answer in answers] == [[2.0], [4.0, 6.0], [8.0]]
    assert model.batches == [2, 2]


def test_no_more_than_so_many_run_together(gatherer: Gatherer) -> None:
    model = Doubling()
    answers = all_of(*[ask(gatherer, model, float(n)) for n in range(MAX_REQUESTS + 3)])
    assert [answer[0][0] for answer in answers] == [2.0 * n for n in range(MAX_REQUESTS + 3)]
    assert model.batches == [MAX_REQUESTS, 3]


def test_models_are_kept_apart(gatherer: Gatherer) -> None:
    one, other = Doubling(), Doubling()
    all_of(ask(gatherer, one, 1.0), ask(gatherer, other, 2.0), ask(gatherer, one, 3.0))
    assert (one.batches, other.batches) == ([2], [1])


def test_after_an_error_each_is_to_run_by_itself(gatherer: Gatherer) -> None:
    model = Doubling()
    assert all_of(ask(gatherer, model, 1.0), ask(gatherer, model, float("nan"))) == [None, None]
    (answer,) = all_of(ask(gatherer, model, 1.0))
    assert answer[0].tolist() == [2.0]


def test_a_model_that_answers_for_the_whole_batch_is_never_given_one_again(gatherer: Gatherer) -> None:
    model = Summing()
    assert all_of(ask(gatherer, model, 1.0), ask(gatherer, model, 2.0)) == [None, None]
    assert all_of(ask(gatherer, model, 1.0), ask(gatherer, model, 2.0)) == [None, None]
    assert model.batches == [2]


def test_what_is_not_quick_is_left_to_threads(gatherer: Gatherer) -> None:
    model = Doubling()
    assert all_of(ask(gatherer, model, 1.0, kind="slow")) == [None]
    assert model.batches == []


def test_a_request_that_is_there_alone_runs_at_once(gatherer: Gatherer) -> None:
    model = Doubling()
    gatherer.present = 1
    coroutine = ask(gatherer, model, 1.0)
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value[0].tolist() == [2.0]


def test_what_comes_while_a_batch_runs_is_the_next_batch(gatherer: Gatherer) -> None:
    model = Doubling()
    go_on, begun = threading.Event(), threading.Event()
    run = model.run

    def held_up(*args: Any) -> list[np.ndarray]:
        begun.set()
        assert go_on.wait(30)
        return run(*args)

    model.run = held_up  # type: ignore[assignment, method-assign]

    async def in_turn() -> list[Any]:
        first = asyncio.ensure_future(ask(gatherer, model, 1.0))
        await asyncio.to_thread(begun.wait, 30)
        later = [asyncio.ensure_future(ask(gatherer, model, float(n))) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, *later)

    assert [answer[0].tolist() for answer in asyncio.run(in_turn())] == [[2.0], [4.0], [6.0], [8.0]]
    assert model.batches == [1, 3]


def test_a_request_whose_caller_has_gone_does_not_run(gatherer: Gatherer) -> None:
    model = Doubling()

    async def one_goes() -> Any:
        gone = asyncio.ensure_future(ask(gatherer, model, 1.0))
        stays = asyncio.ensure_future(ask(gatherer, model, 2.0))
        # Both have asked, and the batch has not begun.
        asyncio.get_running_loop().call_soon(gone.cancel)
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    answer = asyncio.run(one_goes())
    assert answer[0].tolist() == [4.0]
    assert model.batches == [1]


def test_a_batch_keeps_its_model_though_its_callers_have_gone(gatherer: Gatherer) -> None:
    model = Doubling()
    lease = FakeLease(model)
    held_while_it_ran: list[int] = []
    run = model.run

    async def all_go() -> None:
        loop = asyncio.get_running_loop()
        asked = asyncio.ensure_future(ask(gatherer, lease, 1.0))
        ran = asyncio.Event()

        def look(*args: Any) -> list[np.ndarray]:
            loop.call_soon_threadsafe(asked.cancel)
            while not asked.done():
                time.sleep(0.001)
            lease.release()
            held_while_it_ran.append(lease.held[0])
            loop.call_soon_threadsafe(ran.set)
            return run(*args)

        model.run = look  # type: ignore[assignment, method-assign]
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.wait_for(ran.wait(), 30)
        while lease.held[0]:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(all_go(), 60))
    assert held_while_it_ran == [1]
