"""Which requests run in the event loop."""

from __future__ import annotations

import threading
import time

import pytest

from serving.model_server import pace
from serving.model_server.pace import Pace, Watch

QUICK, SLOW = 0.0001, 0.02


class Clock:
    """Stands for the clock and for the thread's own time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.own = 0.0
        monkeypatch.setattr(pace.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(pace.time, "thread_time", lambda: self.own)

    def work(self, own: float, others: float = 0.0) -> str:
        self.now += own + others
        self.own += own
        return "done"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def inline(pace_: Pace, clock: Clock, own: float = QUICK, others: float = 0.0, kind: str = "k") -> bool:
    return pace_.run(kind, lambda: clock.work(own, others)) == "done"


def test_a_kind_starts_in_threads_and_moves_once_it_is_quick(clock: Clock) -> None:
    found = Pace()
    assert not inline(found, clock)
    found.took("k", SLOW)
    assert not inline(found, clock)
    found.took("k", QUICK)
    assert inline(found, clock)
    assert not inline(found, clock, kind="another")


def test_what_is_not_run_is_not_called(clock: Clock) -> None:
    assert Pace().run("k", lambda: pytest.fail("was run")) is None


def test_nothing_moves_where_it_may_not(clock: Clock) -> None:
    found = Pace(enabled=False)
    found.took("k", QUICK)
    assert not inline(found, clock)


def test_a_kind_that_became_slow_goes_back_to_threads(clock: Clock) -> None:
    found = Pace()
    found.took("k", QUICK)
    results = [inline(found, clock, SLOW) for _ in range(6)]
    # One raises suspicion, three more are seen.
    assert results == [True] * 4 + [False] * 2


def test_others_time_is_not_held_against_it(clock: Clock) -> None:
    found = Pace()
    found.took("k", QUICK)
    assert all([inline(found, clock, QUICK, others=SLOW) for _ in range(100)])


def test_time_in_threads_of_tensorflow_is(clock: Clock) -> None:
    found = Pace()
    found.took("k", QUICK)
    assert not all([inline(found, clock, QUICK, others=10 * SLOW) for _ in range(10)])


def test_a_slip_now_and_then_is_forgiven_and_often_is_not(clock: Clock) -> None:
    found = Pace()
    found.took("k", QUICK)
    assert all([inline(found, clock, SLOW if n % 200 == 0 else QUICK) for n in range(4000)])
    assert not all([inline(found, clock, SLOW if n % 10 == 0 else QUICK) for n in range(400)])


def test_each_return_to_the_loop_takes_more_proof(clock: Clock) -> None:
    found = Pace()
    found.took("k", QUICK)
    needed = []
    for _ in range(5):
        while inline(found, clock, SLOW):
            pass
        needed.append(0)
        while not inline(found, clock):
            found.took("k", QUICK)
            needed[-1] += 1
    assert needed == [2, 4, 8, 16, 32]


def test_a_failure_is_measured_too(clock: Clock) -> None:
    found = Pace()
    found.took("k", QUICK)

    def fail() -> None:
        clock.work(SLOW)
        raise ValueError

    for _ in range(4):
        with pytest.raises(ValueError):
            found.run("k", fail)
    assert not inline(found, clock)


def test_not_every_kind_is_remembered(clock: Clock) -> None:
    found = Pace()
    for n in range(10_000):
        found.took(n, QUICK)
    assert len(found._kinds) <= 8192
    assert found.run(9_999, lambda: "done") == "done"


def test_a_watch_measures_its_thread() -> None:
    def seconds(work: object) -> float:
        found: list[float] = []

        def run() -> None:
            watch = Watch()
            work()  # type: ignore[operator]
            found.append(watch.seconds())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found[0]

    def busy() -> None:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    assert seconds(busy) >= 0.05
    assert seconds(lambda: time.sleep(0.1)) >= 0.02
