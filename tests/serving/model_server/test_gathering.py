"""Requests that are there at the same moment run as one, and none can tell."""

from __future__ import annotations

import asyncio
import functools
import itertools
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from serving.model_server.crowd import MAX_REQUESTS, Crowd
from serving.model_server.errors import Code, ServingError
from serving.model_server.gathering import Gatherer
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
    planned = Planned(plan_of(len(values)), [np.array(values, np.float32).tobytes()])
    return await gatherer.run(kind, servable, planned, Binding(weakref.ref(servable), SIGNATURE, ["y"]))


@pytest.fixture
def gatherer(pace: Pace) -> Gatherer:
    """Its loop is busy, as it were."""
    return Gatherer(pace, Crowd(itertools.count(1e9, 1e9).__next__))


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


def test_as_long_as_the_loop_has_time_a_request_runs_at_once(pace: Pace) -> None:
    model = Doubling()

    async def at_once() -> Any:
        coroutine = ask(Gatherer(pace, Crowd(lambda: 0.0)), model, 1.0)
        with pytest.raises(StopIteration) as done:
            coroutine.send(None)
        return done.value.value

    assert asyncio.run(at_once())[0].tolist() == [2.0]


def test_a_batch_begins_when_as_many_are_there_as_came_before(gatherer: Gatherer) -> None:
    model = Doubling()

    async def in_turn() -> list[Any]:
        await asyncio.gather(*[ask(gatherer, model, float(n)) for n in range(3)])
        # The third finds the batch complete, and all three are answered before the loop does anything else.
        asked = [asyncio.ensure_future(ask(gatherer, model, float(n))) for n in range(3)]
        await asyncio.sleep(0)
        assert model.batches == [3, 3]
        return await asyncio.gather(*asked)

    assert [answer[0].tolist() for answer in asyncio.run(in_turn())] == [[0.0], [2.0], [4.0]]


def test_who_does_not_come_is_not_waited_for_long(gatherer: Gatherer) -> None:
    model = Doubling()

    async def one_is_missing() -> list[Any]:
        await asyncio.gather(*[ask(gatherer, model, float(n)) for n in range(3)])
        return await asyncio.wait_for(asyncio.gather(*[ask(gatherer, model, float(n)) for n in range(2)]), 30)

    assert [answer[0].tolist() for answer in asyncio.run(one_is_missing())] == [[0.0], [2.0]]
    assert model.batches == [3, 2]


def test_those_who_keep_coming_do_not_hold_up_the_first(gatherer: Gatherer) -> None:
    model = Doubling()
    # A gap as long as it can be, in which somebody always comes.
    for _ in range(100):
        gatherer._crowd.ran(1.0)

    async def steadily() -> int:
        first = asyncio.ensure_future(ask(gatherer, model, 1.0))
        later = []
        while not first.done():
            await asyncio.sleep(0.001)
            later.append(asyncio.ensure_future(ask(gatherer, model, 2.0)))
        await asyncio.gather(*later)
        return len(later)

    assert asyncio.run(steadily()) < MAX_REQUESTS


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
