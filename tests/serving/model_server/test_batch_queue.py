"""Which requests go together in a batch, and which are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.batch_queue import BatchQueue, Task
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.errors import Code, ServingError


def queue(**parameters: Any) -> BatchQueue:
    return BatchQueue(BatchingParameters(**parameters), lambda tasks: None)


def task(rows: int) -> Task:
    return Task({"x": np.arange(rows)}, rows)


def sizes(tasks: list[Task] | None) -> list[int] | None:
    return None if tasks is None else [one.rows for one in tasks]


def refusal(found: BatchQueue, rows: int) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        found.add(task(rows), 0)
    return caught.value.code, caught.value.message


def test_without_a_timeout_nothing_is_waited_for() -> None:
    found = queue()
    assert found.due() == math.inf and found.idle
    found.add(task(1), 10.0)
    found.add(task(2), 11.0)
    assert found.due() == 10.0
    assert sizes(found.take(11.0)) == [1, 2]
    assert found.running == 1 and not found.waiting and not found.idle


def test_the_first_request_of_a_batch_waits_so_long_for_others() -> None:
    found = queue(batch_timeout_micros=2_000_000)
    found.add(task(1), 10.0)
    found.add(task(1), 11.5)
    assert found.due() == 12.0
    assert found.take(11.9) is None
    assert sizes(found.take(12.0)) == [1, 1]
    found.add(task(1), 20.0)
    assert found.due() == 22.0


def test_a_full_batch_is_due_at_once() -> None:
    found = queue(max_batch_size=4, batch_timeout_micros=10**9)
    found.add(task(3), 0)
    assert found.take(0) is None
    found.add(task(1), 0)
    assert sizes(found.take(0)) == [3, 1]


def test_a_request_that_does_not_fit_in_closes_the_batch() -> None:
    found = queue(max_batch_size=4, batch_timeout_micros=10**9)
    found.add(task(3), 0)
    found.add(task(2), 0)
    assert sizes(found.take(0)) == [3]
    assert found.take(0) is None and found.waiting


def test_at_the_end_nothing_is_waited_for() -> None:
    found = queue(batch_timeout_micros=10**9)
    found.add(task(1), 0)
    found.closing = True
    assert sizes(found.take(0)) == [1]
    assert found.take(0) is None


def test_requests_without_rows_go_along() -> None:
    found = queue(max_batch_size=1)
    for rows in (0, 1, 0):
        found.add(task(rows), 0)
    assert sizes(found.take(0)) == [0, 1, 0]


def test_a_request_larger_than_a_batch_is_refused() -> None:
    expected = (Code.INVALID_ARGUMENT, "Task size 5 is larger than maximum input batch size 4")
    assert refusal(queue(max_batch_size=4), 5) == expected
    split = queue(max_batch_size=4, max_execution_batch_size=2, enable_large_batch_splitting=True)
    assert refusal(split, 5) == expected


def test_beyond_so_many_batches_requests_are_refused() -> None:
    found = queue(max_batch_size=4, max_enqueued_batches=2)
    for rows in (4, 3):
        found.add(task(rows), 0)
    assert refusal(found, 2) == (
        Code.UNAVAILABLE,
        "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and "
        "max_enqueued_batches is 2",
    )
    found.add(task(1), 0)
    assert sizes(found.take(0)) == [4]
    found.add(task(2), 0)


def test_large_requests_are_split_over_batches() -> None:
    found = queue(
        max_batch_size=100, max_execution_batch_size=4, enable_large_batch_splitting=True, max_enqueued_batches=4
    )
    found.add(task(3), 0)
    parts = found.add(task(10), 0)
    assert sizes(parts) == [1, 4, 4, 1]
    assert np.concatenate([part.feeds["x"] for part in parts]).tolist() == list(range(10))
    assert refusal(found, 4) == (
        Code.UNAVAILABLE,
        "The batch scheduling queue to which this task was submitted is full; task size is 4 but scheduling capacity "
        "is only 3 (num_enqueued_batches=4, max_enqueued_batches=4, open_batch_size=1, max_execution_batch_size=4)",
    )
    assert [sizes(found.take(0)) for _ in range(5)] == [[3, 1], [4], [4], [1], None]


def test_what_has_room_is_not_split() -> None:
    found = queue(max_batch_size=8, max_execution_batch_size=4, enable_large_batch_splitting=True)
    assert sizes(found.add(task(4), 0)) == [4]
    assert sizes(found.add(task(5), 0)) == [4, 1]


@given(
    steps=st.lists(st.one_of(st.integers(0, 9), st.none()), max_size=60),
    max_batch_size=st.integers(1, 8),
    execution=st.integers(1, 8),
    max_enqueued_batches=st.integers(1, 4),
    splitting=st.booleans(),
)
def test_each_task_comes_out_once_and_in_order(
    steps: list[int | None], max_batch_size: int, execution: int, max_enqueued_batches: int, splitting: bool
) -> None:
    parameters = BatchingParameters(
        max_batch_size=max_batch_size,
        max_execution_batch_size=min(execution, max_batch_size),
        enable_large_batch_splitting=splitting,
        max_enqueued_batches=max_enqueued_batches,
    )
    found = BatchQueue(parameters, lambda tasks: None)
    added: list[Task] = []
    taken: list[Task] = []
    batches = 0
    for step in [*steps, *[None] * 200]:
        if step is not None:
            try:
                added += found.add(task(step), 0)
            except ServingError:
                continue
        else:
            batch = found.take(0)
            if batch is not None:
                batches += 1
                assert batch and sum(one.rows for one in batch) <= parameters.execution_batch_size
                taken += batch
    assert taken == added and not found.waiting and found.running == batches


def test_each_task_gets_an_error_of_its_own() -> None:
    failed = []
    shared = ServingError(Code.INTERNAL, "it failed")
    for one in [task(1), task(1)]:
        one.fail(shared)
        with pytest.raises(ServingError, match="it failed") as caught:
            one.wait()
        failed.append(caught.value)
    assert len({id(error) for error in [*failed, shared]}) == 3
    assert all(error.code is Code.INTERNAL and error.__cause__ is None for error in failed)
