"""The callable of a session: TensorFlow's private API is still there, and what stands in for it does the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.model_server import session as fast
from serving.model_server.session import CALLERS_THREAD, GLOBAL_POOL, SessionOptions, make_callable


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 1], name="x")
        tf.compat.v1.placeholder(tf.float32, [None, 1], name="other")
        tf.multiply(x, 2.0, name="doubled")
        tf.reduce_sum(x, name="total")
        yield session


class WithoutTheFastPath:
    """A session of a TensorFlow that has dropped the private API."""

    def __init__(self, session: Any) -> None:
        self.graph = session.graph
        self.make_callable = session.make_callable


@pytest.mark.parametrize("thread_pool", [CALLERS_THREAD, GLOBAL_POOL])
def test_runs_feeds_in_order(session: Any, thread_pool: int) -> None:
    run = make_callable(session, ["x:0"], ["doubled:0", "total:0"], thread_pool)
    doubled, total = run(np.float32([[1], [2]]))
    assert doubled.tolist() == [[2.0], [4.0]]
    assert total == 3.0


def test_without_the_private_api_the_results_are_the_same(session: Any) -> None:
    run = make_callable(WithoutTheFastPath(session), ["x:0"], ["doubled:0", "total:0"], CALLERS_THREAD)
    doubled, total = run(np.float32([[1], [2]]))
    assert doubled.tolist() == [[2.0], [4.0]]
    assert total == 3.0


def test_this_tensorflow_has_the_private_api(session: Any) -> None:
    # Without it all is well and five times slower, which nobody would notice but in a benchmark.
    run = make_callable(session, ["x:0"], ["doubled:0"], CALLERS_THREAD)
    assert type(run).__name__ == "_Callable"


def test_shapes_are_left_to_the_kernels(session: Any) -> None:
    # Clients send (n,) for (None, 1), and TensorFlow Serving lets them.
    run = make_callable(session, ["x:0"], ["doubled:0"], CALLERS_THREAD)
    assert run(np.float32([1, 2]))[0].tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ("feeds", "fetches", "message"),
    [
        (["gone:0"], ["doubled:0"], "gone:0.*was not found in the Graph"),
        (["x:0", "x:0"], ["doubled:0"], "fed more than once"),
        (["x:0"], ["x:0"], "both fed and fetched"),
    ],
)
def test_names_that_cannot_be_run(session: Any, feeds: list[str], fetches: list[str], message: str) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.OpError, match=message):
        make_callable(session, feeds, fetches, CALLERS_THREAD)


def test_options_reach_the_sessions() -> None:
    config = SessionOptions(intra_op_parallelism=3, inter_op_parallelism=5).config()
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (3, 5)


@pytest.mark.parametrize(("threads", "pool"), [(0, CALLERS_THREAD), (1, CALLERS_THREAD), (2, GLOBAL_POOL)])
def test_operations_run_in_a_pool_only_when_it_was_asked_for(threads: int, pool: int) -> None:
    assert SessionOptions(inter_op_parallelism=threads).thread_pool == pool


def test_the_pool_is_handed_on(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(session, "_make_callable_from_options", seen.append, raising=False)
    fast.make_callable(session, ["x:0"], ["doubled:0"], CALLERS_THREAD)
    fast.make_callable(session, ["x:0"], ["doubled:0"], GLOBAL_POOL)
    assert [options.run_options.inter_op_thread_pool for options in seen] == [-1, 0]
