"""How requests come, without a loop and without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.crowd import MAX_REQUESTS, Crowd, Room


class Thread:
    """The loop's thread; `worked` is set by the test."""

    def __init__(self) -> None:
        self.worked = 0.0

    def __call__(self) -> float:
        return self.worked


@pytest.mark.parametrize(("share", "busy"), [(0.9, True), (0.6, True), (0.4, False), (0.0, False)])
def test_a_loop_is_busy_that_works_most_of_the_time(share: float, busy: bool) -> None:
    thread = Thread()
    crowd = Crowd(thread)
    crowd.comes(1000.0)
    for step in range(1, 30):
        now = 0.01 * step
        thread.worked = share * now
        crowd.comes(1000.0 + now)
    assert crowd.is_busy is busy


def test_after_a_rest_the_loop_is_not_busy_any_more() -> None:
    thread = Thread()
    crowd = Crowd(thread)
    crowd.comes(1000.0)
    thread.worked = 0.2
    crowd.comes(1000.2)
    assert crowd.is_busy
    crowd.comes(1005.0)
    assert not crowd.is_busy


def test_batches_begin_once_as_many_are_there_as_were_counted() -> None:
    crowd = Crowd()
    assert not crowd.is_there(1), "nobody has counted yet"
    crowd.begins(16)
    assert [crowd.is_there(waiting) for waiting in (1, 15, 16)] == [False, False, True]


def test_they_are_counted_again_after_some_batches() -> None:
    crowd = Crowd()
    crowd.begins(4)
    batches = 0
    while crowd.is_there(4):
        crowd.begins(4)
        batches += 1
    assert batches == 32
    crowd.begins(9)
    assert [crowd.is_there(waiting) for waiting in (4, 8, 9)] == [False, False, True]


def test_one_that_is_always_alone_is_seldom_made_to_wait() -> None:
    crowd = Crowd()
    waits = 0
    for _ in range(10_000):
        waits += not crowd.is_there(1)
        crowd.begins(1)
    assert waits < 50
    # Until others come.
    while crowd.is_there(1):
        crowd.begins(1)
    crowd.begins(16)
    assert [crowd.is_there(15), crowd.is_there(16)] == [False, True]


def test_one_who_is_late_is_still_expected_and_those_who_left_are_forgotten() -> None:
    crowd = Crowd()
    crowd.begins(16)
    crowd.begins(15)
    assert crowd.is_there(15)
    crowd.begins(1)
    assert not crowd.is_there(1)
    for _ in range(8):
        crowd.begins(1)
    assert crowd.is_there(1)


def test_more_than_may_run_together_are_never_waited_for() -> None:
    assert Crowd().is_there(MAX_REQUESTS)


def test_the_gap_follows_the_runs_up_to_a_bound() -> None:
    crowd = Crowd()
    assert crowd.gap == 0.0
    for _ in range(100):
        crowd.ran(0.0005)
    assert crowd.gap == pytest.approx(0.0015, rel=0.01)
    for _ in range(100):
        crowd.ran(1.0)
    assert crowd.gap == 0.004


def test_many_that_keep_the_loop_for_long_get_less_room() -> None:
    room = Room()
    for _ in range(6):
        room.ran(20, 0.02)
    assert room.most == MAX_REQUESTS // 4
    for _ in range(100):
        room.ran(10, 0.001)
    assert room.most == MAX_REQUESTS // 2


def test_slow_batches_of_a_few_do_not_say_that_even_fewer_are_better() -> None:
    room = Room()
    for _ in range(3):
        room.ran(2, 0.02)
    assert room.most == MAX_REQUESTS // 2


def test_a_slip_now_and_then_changes_nothing() -> None:
    room = Room()
    for step in range(2000):
        room.ran(20, 0.02 if step % 20 == 0 else 0.001)
    assert room.most == MAX_REQUESTS


def test_one_request_that_takes_long_says_nothing_about_several() -> None:
    room = Room()
    for _ in range(10):
        room.ran(1, 1.0)
    assert room.most == MAX_REQUESTS


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 0.02)), max_size=60), st.integers(0, 200))
def test_there_is_always_room_for_one_and_every_request_has_its_part(runs: list[tuple[int, float]], count: int) -> None:
    room = Room()
    for ran, seconds in runs:
        room.ran(min(ran, room.most), seconds)
    assert 1 <= room.most <= MAX_REQUESTS
    parts = list(room.parts(list(range(count))))
    assert [one for part in parts for one in part] == list(range(count))
    assert all(1 <= len(part) <= room.most for part in parts)
