"""How clients ask: again where that helps, until the deadline, several batches at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.client import Again, CallFailed, Client, Code, Retry
from tests.serving.client.fake_model import Failure, FakeModel

Connect = Callable[..., Any]


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED])
def test_passing_failures_are_tried_again(connect: Connect, model: FakeModel, code: Code) -> None:
    told: list[Again] = []
    client = connect(on_retry=told.append)
    client.metadata()
    model.failures.extend([Failure(code), Failure(code), None])
    assert len(client.predict({"fare": 1.0})) == 1
    assert len(model.predicts()) == 3
    assert len({seen.headers["x-request-id"] for seen in model.predicts()}) == 1
    assert [(again.code, again.message, again.attempt) for again in told] == [
        (code, "not now", 1),
        (code, "not now", 2),
    ]


def test_failures_that_stay_end_after_the_last_attempt(connect: Connect, model: FakeModel) -> None:
    client = connect(retry=Retry(attempts=3, first_seconds=0.001))
    client.metadata()
    model.failures.extend([Failure(Code.UNAVAILABLE)] * 5)
    with pytest.raises(CallFailed, match=r"the model people at 127.0.0.1:\d+ \(\w+\) must answer") as raised:
        client.predict({"fare": 1.0}, request_id="r1")
    assert len(model.predicts()) == 3
    assert (raised.value.code, raised.value.message) == (Code.UNAVAILABLE, "not now")
    assert (raised.value.attempts, raised.value.request_id) == (3, "r1")
    assert "Got UNAVAILABLE: not now (tried 3 times) [request id r1] instead" in str(raised.value)


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.INVALID_ARGUMENT, Code.INTERNAL])
def test_other_failures_are_not_tried_again(connect: Connect, model: FakeModel, code: Code) -> None:
    client = connect()
    client.metadata()
    model.failures.extend([Failure(code, "the server's words")])
    with pytest.raises(CallFailed) as raised:
        client.predict({"fare": 1.0})
    assert (raised.value.code, raised.value.message) == (code, "the server's words")
    assert len(model.predicts()) == 1


def test_the_server_may_ask_for_a_longer_wait(connect: Connect, model: FakeModel) -> None:
    told: list[Again] = []
    client = connect(on_retry=told.append)
    client.metadata()
    model.failures.extend([Failure(Code.RESOURCE_EXHAUSTED, wait=1)])
    client.predict({"fare": 1.0})
    assert [again.seconds for again in told] == [1.0]


def test_a_wait_beyond_the_deadline_is_not_begun(connect: Connect, model: FakeModel) -> None:
    client = connect(deadline_seconds=20.0)
    client.metadata()
    model.failures.extend([Failure(Code.RESOURCE_EXHAUSTED, wait=3600)])
    with pytest.raises(CallFailed, match="the deadline is 20 s") as raised:
        client.predict({"fare": 1.0})
    assert raised.value.code == Code.RESOURCE_EXHAUSTED
    assert len(model.predicts()) == 1


def test_the_deadline_ends_a_call(connect: Connect, model: FakeModel) -> None:
    client = connect(deadline_seconds=0.5)
    client.metadata()
    model.hold.clear()
    with pytest.raises(CallFailed, match="the deadline is 0.5 s") as raised:
        client.predict({"fare": 1.0})
    assert raised.value.code == Code.DEADLINE_EXCEEDED
    model.hold.set()
    assert len(model.predicts()) == 1


def test_nobody_listens(connect: Connect) -> None:
    client = connect(address="127.0.0.1:9", retry=Retry(attempts=2, first_seconds=0.001))
    with pytest.raises(CallFailed, match="is the server running") as raised:
        client.predict({"fare": 1.0})
    assert raised.value.code == Code.UNAVAILABLE
    assert raised.value.attempts == 2


def test_batches_that_are_under_way_together(connect: Connect, model: FakeModel) -> None:
    client = connect(batch_rows=1, in_flight=3)
    together = 1 if isinstance(client, Client) else 3
    client.metadata()
    model.hold.clear()
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(client.predict({"fare": np.arange(5.0)})))
    thread.start()
    while len(model.predicts()) < together:
        thread.join(0.01)
    thread.join(0.2)
    assert len(model.predicts()) == together
    model.hold.set()
    thread.join()
    np.testing.assert_allclose(done[0].outputs["scores"][:, 1], np.arange(5) / 100, rtol=1e-6)


def test_one_failed_batch_fails_the_call(connect: Connect, model: FakeModel) -> None:
    client = connect(batch_rows=1)
    client.metadata()
    model.failures.extend([None, Failure(Code.INTERNAL, "broken")])
    with pytest.raises(CallFailed, match="INTERNAL: broken"):
        client.predict({"fare": np.arange(4.0)})
    assert len(client.predict({"fare": np.arange(4.0)})) == 4
