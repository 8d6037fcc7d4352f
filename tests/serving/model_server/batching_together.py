"""Asking a batched servable from several threads, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from serving.model_server.batching import BatchedServable
from serving.model_server.errors import ServingError
from serving.model_server.servable import Servable
from serving.v1_loader import Signature
from tests.serving.model_server.eventually import PATIENCE

MINUTE = 60_000_000
"""A batch time-out in µs that no test lives to see: what is answered was not waited for."""


class Runs:
    """Counts the runs of sessions, and holds them up when told to. Get it from the fixture `runs`.

    Attributes:
        sizes: rows of each run, in order.
        threads: the name of the thread of each.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.threads: list[str] = []
        self._open = threading.Event()
        self._open.set()
        original = Servable.run

        def run(
            servable: Servable, signature: Signature, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]
        ) -> list[np.ndarray]:
            self.sizes.append(max((len(array) for array in feeds.values() if array.ndim), default=1))
            self.threads.append(threading.current_thread().name)
            assert self._open.wait(PATIENCE)
            return original(servable, signature, feeds, fetches)

        patch.setattr(Servable, "run", run)

    def hold(self) -> None:
        """Keeps all runs waiting from now on."""
        self._open.clear()

    def go(self) -> None:
        """Lets them go."""
        self._open.set()


def ask(servable: Servable, name: str, feeds: dict[str, Any], *fetches: str) -> Any:
    """Runs a signature, and returns the outputs as lists, or the error's code and message."""
    signature = servable.signatures[name]
    try:
        outputs = servable.run(signature, feeds, fetches or list(signature.outputs))
    except ServingError as error:
        return error.code.name, error.message
    return [output.tolist() for output in outputs]


@contextmanager
def threads(count: int = 16) -> Iterator[Any]:
    """Yields a function that asks in a thread and returns a Future."""
    executor = ThreadPoolExecutor(count)
    try:
        yield lambda *args: executor.submit(ask, *args)
    finally:
        # Where the test has failed, they may wait for ever.
        executor.shutdown(wait=False)


def waiting(servable: BatchedServable) -> int:
    """Returns how many tasks wait for a thread, or for others."""
    with servable._queues._scheduler._work:
        queues = servable._queues._queues.values()
        return sum(len(batch.tasks) for queue in queues for batch in queue._batches)
