"""Cross-request batching: the same answers in fewer runs, and each error where it belongs."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model_server.batch_scheduler import MAX_QUEUES, BatchScheduler
from serving.model_server.batching import BatchedServable
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.servable import Servable
from tests.serving.model_server.batching_together import MINUTE, Runs, ask, threads, waiting
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.toy_models import DTYPES, ToyModels, example

MakeBatched = Callable[..., BatchedServable]


@pytest.fixture(scope="module")
def toy_path(toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_models.write(tmp_path_factory.mktemp("toy"), 1)


@pytest.fixture(scope="module")
def plain(toy_path: Path) -> Iterator[Servable]:
    servable = Servable("toy", 1, toy_path)
    yield servable
    servable.close()


@pytest.fixture
def batched(toy_path: Path) -> Iterator[MakeBatched]:
    """Makes servables that are closed after the test: `batched(max_batch_size=4, ...)`, or with a scheduler."""
    made: list[BatchedServable] = []

    def make(scheduler: BatchScheduler | None = None, **parameters: Any) -> BatchedServable:
        scheduler = scheduler or BatchScheduler(BatchingParameters(**parameters))
        made.append(BatchedServable("toy", 1, toy_path, None, scheduler))
        return made[-1]

    yield make
    for servable in made:
        servable.close()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    runs = Runs(monkeypatch)
    yield runs
    runs.go()


def x(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.float32(values)}


# Fewer runs.


def test_requests_at_the_same_time_are_one_run(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=8, batch_timeout_micros=MINUTE)
    with threads() as start:
        asked = [start(servable, "serving_default", x(n)) for n in range(8)]
        assert [one.result() for one in asked] == [[[n / 2 + 2]] for n in range(8)]
    assert runs.sizes == [8]


def test_requests_of_several_rows_too(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=9, batch_timeout_micros=MINUTE)
    with threads() as start:
        asked = [start(servable, "serving_default", x(*range(n))) for n in (4, 2, 3)]
        assert [one.result() for one in asked] == [[[i / 2 + 2 for i in range(n)]] for n in (4, 2, 3)]
    assert runs.sizes == [9]


def test_a_lone_request_waits_no_longer_than_the_timeout(batched: MakeBatched, runs: Runs) -> None:
    assert ask(batched(batch_timeout_micros=1000), "serving_default", x(1, 2)) == [[2.5, 3.0]]
    assert ask(batched(), "serving_default", x(1, 2)) == [[2.5, 3.0]]
    assert runs.sizes == [2, 2]


def test_what_comes_while_all_threads_are_busy_goes_together(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(num_batch_threads=1)
    runs.hold()
    with threads() as start:
        first = start(servable, "serving_default", x(0))
        eventually(lambda: runs.sizes)
        others = [start(servable, "serving_default", x(n)) for n in range(1, 6)]
        eventually(lambda: waiting(servable) == 5)
        runs.go()
        assert [one.result() for one in [first, *others]] == [[[n / 2 + 2]] for n in range(6)]
    assert runs.sizes == [1, 5]


def test_each_signature_and_choice_of_outputs_has_batches_of_its_own(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=2, batch_timeout_micros=MINUTE)
    words = {"words": np.array([b"a"], object), "counts": np.int64([4])}
    kinds = [
        ("serving_default", x(2), ("y",), [[3.0]]),
        ("predict_multi", words, ("doubled", "upper"), [[8], [b"A"]]),
        ("predict_multi", words, ("upper",), [[b"A"]]),
    ]
    with threads() as start:
        asked = [(start(servable, name, feeds, *fetches), answer) for name, feeds, fetches, answer in kinds * 2]
        assert [one.result() for one, _ in asked] == [answer for _, answer in asked]
    assert runs.sizes == [2, 2, 2]


def test_outputs_come_in_the_order_in_which_each_asks(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=2, batch_timeout_micros=MINUTE)
    feeds = {"words": np.array([b"a"], object), "counts": np.int64([4])}
    with threads() as start:
        asked = [
            start(servable, "predict_multi", feeds, *order) for order in (("upper", "doubled"), ("doubled", "upper"))
        ]
        assert [one.result() for one in asked] == [[[b"A"], [8]], [[8], [b"A"]]]
    assert runs.sizes == [2]


@pytest.mark.parametrize(("rows", "run"), [(1, 2), (2, 2), (3, 6), (6, 6)])
def test_a_batch_is_filled_up_to_an_allowed_size(batched: MakeBatched, runs: Runs, rows: int, run: int) -> None:
    servable = batched(max_batch_size=6, allowed_batch_sizes=(2, 6))
    assert ask(servable, "serving_default", x(*range(rows))) == [[n / 2 + 2 for n in range(rows)]]
    assert runs.sizes == [run]


def test_a_large_request_is_split_and_put_together_again(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=100, max_execution_batch_size=4, enable_large_batch_splitting=True)
    assert ask(servable, "serving_default", x(*range(11))) == [[n / 2 + 2 for n in range(11)]]
    assert sorted(runs.sizes) == [3, 4, 4]


REQUESTS = {
    "serving_default": lambda rows: {"x": rows.astype(np.float32)},
    "matrix": lambda rows: {"m": np.stack([rows, rows + 1], axis=1).astype(np.float32)},
    "predict_multi": lambda rows: {"words": np.array([b"w%d" % n for n in rows], object), "counts": rows},
    "classify": lambda rows: {"inputs": np.array([example(float(n)) for n in rows], object)},
    "regress": lambda rows: {"inputs": np.array([example(float(n)) for n in rows], object)},
    "all_types": lambda rows: {
        name: np.array([b"%d" % n for n in rows], object) if name == "string" else rows.astype(_dtype(name))
        for name in DTYPES
    },
}


@settings(max_examples=25)
@given(
    requests=st.lists(st.tuples(st.sampled_from(sorted(REQUESTS)), st.integers(0, 6)), min_size=1, max_size=12),
    largest=st.integers(6, 12),
    timeout=st.sampled_from([0, 500]),
    threads_=st.integers(1, 3),
    filled_up=st.booleans(),
    split=st.booleans(),
)
def test_answers_are_those_without_batching(
    plain: Servable,
    toy_path: Path,
    requests: list[tuple[str, int]],
    largest: int,
    timeout: int,
    threads_: int,
    filled_up: bool,
    split: bool,
) -> None:
    parameters = BatchingParameters(
        max_batch_size=largest,
        batch_timeout_micros=timeout,
        num_batch_threads=threads_,
        allowed_batch_sizes=(3, largest) if filled_up else (),
        enable_large_batch_splitting=split,
        max_execution_batch_size=3 if split else None,
        max_enqueued_batches=1000,
    )
    servable = _Like(plain, BatchScheduler(parameters))
    asked = [(name, REQUESTS[name](np.arange(rows) + 10 * place)) for place, (name, rows) in enumerate(requests)]
    try:
        with threads(len(asked)) as start:
            answers = [one.result() for one in [start(servable, *one) for one in asked]]
    finally:
        servable._queues.close()
    assert answers == [ask(plain, *one) for one in asked]


# Errors.


def test_a_request_that_fails_fails_alone(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=3, batch_timeout_micros=MINUTE)
    inputs = [example(0.25), b"no example", example(1.0)]
    with threads() as start:
        asked = [start(servable, "regress", {"inputs": np.array([one], object)}) for one in inputs]
        first, second, third = [one.result() for one in asked]
    assert (first, third) == ([[[2.125]]], [[[2.5]]])
    assert second[0] == "INVALID_ARGUMENT" and "no example" in second[1]
    assert runs.sizes == [3, 1, 1, 1]


def test_each_gets_the_error_of_a_signature_that_always_fails(batched: MakeBatched, plain: Servable) -> None:
    servable = batched(max_batch_size=2, batch_timeout_micros=MINUTE)
    with threads() as start:
        asked = [start(servable, "fails", x(n)) for n in range(2)]
        assert [one.result() for one in asked] == [ask(plain, "fails", x(n)) for n in range(2)]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("serving_default", x(1), {"x": np.int64([1])}),
        ("serving_default", x(1), {"x": np.array([b"a"], object)}),
        ("matrix", {"m": np.float32([[1, 2]])}, {"m": np.float32([[1, 2, 3]])}),
        ("regress", {"inputs": np.array([example(0.25)], object)}, {"inputs": np.float32([1])}),
    ],
)
def test_what_does_not_fit_the_signature_is_run_alone(
    batched: MakeBatched, plain: Servable, runs: Runs, name: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    servable = batched(max_batch_size=2, batch_timeout_micros=MINUTE)
    with threads() as start:
        first = start(servable, name, good)
        eventually(lambda: waiting(servable) == 1)
        wrong = start(servable, name, bad).result()
        second = start(servable, name, good)
        assert first.result() == second.result() == ask(plain, name, good)
    assert wrong == ask(plain, name, bad) and wrong[0] == "INVALID_ARGUMENT"


def test_shapes_that_do_not_go_together_are_told_to_those_concerned(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=3, batch_timeout_micros=MINUTE)
    with threads() as start:
        asked = [start(servable, "any_shape", {"x": np.zeros((1, width), np.float32)}) for width in (2, 2, 3)]
        for one in asked:
            code, message = one.result()
            assert code == "FAILED_PRECONDITION"
            assert message.startswith("Tensors with name 'x' from different tasks have different shapes and padding is")
        asked = [start(servable, "any_shape", {"x": np.full((1, 2), n, np.float32)}) for n in range(3)]
        assert [one.result() for one in asked] == [[[[n, n]]] for n in range(3)]
    assert runs.sizes == [3]


def test_shapes_are_filled_up_where_that_is_wanted(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=2, batch_timeout_micros=MINUTE, pad_variable_length_inputs=True)
    with threads() as start:
        asked = [start(servable, "any_shape", {"x": np.float32([row])}) for row in ([1, 2, 3], [4])]
        assert [one.result() for one in asked] == [[[[1, 2, 3]]], [[[4, 4, 4]]]]
    assert runs.sizes == [2]


@pytest.mark.parametrize(
    ("name", "feeds", "code", "message"),
    [
        (
            "slow",
            {"loops": np.int64(1)},
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            "with_default",
            {**x(1, 2), "add": np.float32([1])},
            "INVALID_ARGUMENT",
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        ("uneven", x(1, 2), "FAILED_PRECONDITION", "Batched output tensor has 0 dimensions"),
        (
            "serving_default",
            x(*range(5)),
            "INVALID_ARGUMENT",
            "Task size 5 is larger than maximum input batch size 4",
        ),
    ],
)
def test_what_cannot_be_batched_is_told(
    batched: MakeBatched, name: str, feeds: dict[str, Any], code: str, message: str
) -> None:
    assert ask(batched(max_batch_size=4), name, feeds) == (code, message)


def test_when_too_many_wait_the_next_is_refused(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1)
    runs.hold()
    with threads() as start:
        asked = [start(servable, "serving_default", x(0))]
        eventually(lambda: runs.sizes)
        for count in (1, 2):
            asked.append(start(servable, "serving_default", x(0)))
            eventually(lambda expected=count: waiting(servable) == expected)
        assert ask(servable, "serving_default", x(0)) == (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 2 batches enqueued and "
            "max_enqueued_batches is 2",
        )
        # Another signature has a queue of its own.
        asked.append(start(servable, "any_shape", x(2)))
        runs.go()
        assert [one.result() for one in asked] == [[[2.0]]] * 4


# Threads, and the end.


def test_all_models_share_so_many_threads(batched: MakeBatched, runs: Runs) -> None:
    scheduler = BatchScheduler(BatchingParameters(num_batch_threads=2, max_batch_size=1, thread_pool_name="pool"))
    servables = [batched(scheduler), batched(scheduler), batched(scheduler)]
    runs.hold()
    with threads() as start:
        asked = [start(servable, "serving_default", x(n)) for servable in servables for n in range(3)]
        eventually(lambda: sum(waiting(servable) for servable in servables) == 7)
        assert len(runs.sizes) == 2
        runs.go()
        assert [one.result()[0][0] for one in asked] == [2.0, 2.5, 3.0] * 3
    assert set(runs.threads) == {"pool_0", "pool_1"}


def test_models_take_turns(batched: MakeBatched, runs: Runs) -> None:
    scheduler = BatchScheduler(BatchingParameters(num_batch_threads=1, max_batch_size=1))
    busy, other = batched(scheduler), batched(scheduler)
    answered: list[str] = []
    runs.hold()
    with ThreadPoolExecutor(16) as executor:

        def note(servable: Servable, name: str) -> None:
            ask(servable, "serving_default", x(0))
            answered.append(name)

        asked = [executor.submit(note, busy, "busy") for _ in range(6)]
        eventually(lambda: runs.sizes and waiting(busy) == 5)
        asked.append(executor.submit(note, other, "other"))
        eventually(lambda: waiting(other) == 1)
        order: list[int] = []
        original = scheduler._take

        def take() -> Any:
            taken = original()
            if taken is not None:
                order.append(1 if taken[0] in other._queues._queues.values() else 0)
            return taken

        scheduler._take = take  # type: ignore[method-assign]
        runs.go()
        for one in asked:
            one.result()
    assert order.index(1) <= 1


def test_the_threads_end_with_the_last_model(batched: MakeBatched) -> None:
    scheduler = BatchScheduler(BatchingParameters(num_batch_threads=3, thread_pool_name="ending"))
    first, second = batched(scheduler), batched(scheduler)

    def alive() -> int:
        return sum(thread.name.startswith("ending_") for thread in threading.enumerate())

    assert alive() == 3
    first.close()
    assert ask(second, "serving_default", x(0)) == [[2.0]]
    second.close()
    eventually(lambda: alive() == 0)
    third = batched(scheduler)
    assert alive() == 3
    assert ask(third, "serving_default", x(0)) == [[2.0]]


def test_the_end_waits_for_what_was_asked_and_for_nothing_else(batched: MakeBatched, runs: Runs) -> None:
    servable = batched(max_batch_size=2, batch_timeout_micros=MINUTE, num_batch_threads=1)
    runs.hold()
    with threads() as start:
        under_way = [start(servable, "serving_default", x(n)) for n in range(2)]
        eventually(lambda: runs.sizes)
        left = start(servable, "serving_default", x(7))
        eventually(lambda: waiting(servable) == 1)
        closing = threading.Thread(target=servable.close)
        closing.start()
        eventually(lambda: servable._queues.closed)
        assert ask(servable, "serving_default", x(0))[0] == "UNAVAILABLE"
        assert closing.is_alive()
        runs.go()
        closing.join()
        assert [one.result() for one in [*under_way, left]] == [[[2.0]], [[2.5]], [[5.5]]]
    servable.close()
    assert ask(servable, "serving_default", {"x": np.int64([1])})[0] == "UNAVAILABLE"


def test_a_closed_one_is_freed_without_the_garbage_collector(toy_path: Path) -> None:
    scheduler = BatchScheduler(BatchingParameters(num_batch_threads=2))
    other = BatchedServable("toy", 1, toy_path, None, scheduler)
    servable = BatchedServable("toy", 1, toy_path, None, scheduler)
    gc.collect()
    gc.disable()
    try:
        ask(servable, "serving_default", x(1))
        ask(servable, "fails", x(1))
        remains = weakref.ref(servable)
        servable.close()
        del servable
        # The thread that ran it may still be on its way back.
        eventually(lambda: remains() is None)
    finally:
        gc.enable()
        other.close()


def test_queues_that_nobody_uses_do_not_add_up(batched: MakeBatched) -> None:
    servable = batched()
    feeds = REQUESTS["all_types"](np.arange(2))
    for number in range(MAX_QUEUES + 20):
        fetches = [name for bit, name in enumerate(DTYPES) if number + 1 & 1 << bit]
        assert ask(servable, "all_types", feeds, *fetches) == [feeds[name].tolist() for name in fetches]
    assert len(servable._queues._queues) <= MAX_QUEUES


class _Like(BatchedServable):
    """A servable that runs another's session, so that there is a new one in no time."""

    def __init__(self, plain: Servable, scheduler: BatchScheduler) -> None:
        self.__dict__.update(plain.__dict__)
        self._parameters = scheduler.parameters
        self._queues = scheduler.open()


def _dtype(name: str) -> Any:
    import tensorflow as tf

    return tf.as_dtype(name).as_numpy_dtype
