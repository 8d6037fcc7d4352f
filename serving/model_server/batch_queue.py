"""Which requests go together in a batch, and which are refused because too many wait."""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.errors import Code, ServingError

Arrays = dict[str, np.ndarray]


class Task:
    """A request, or a part of one, that waits for its answer.

    Args:
        feeds: input key to array; all have `rows` as their first dimension.
        rows: how many rows.
    """

    __slots__ = ("feeds", "rows", "_done", "_error", "_outputs")

    def __init__(self, feeds: Mapping[str, np.ndarray], rows: int) -> None:
        self.feeds = feeds
        self.rows = rows
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._outputs: Arrays = {}

    @property
    def done(self) -> bool:
        """Whether it has been answered."""
        return self._done.is_set()

    def answer(self, outputs: Arrays) -> None:
        """Answers it: output key to array."""
        self._outputs = outputs
        self._done.set()

    def fail(self, error: BaseException) -> None:
        """Answers it with an error, of which each task gets its own: a traceback keeps alive what its frames knew."""
        if isinstance(error, ServingError):
            self._error = ServingError(error.code, error.message)
        else:
            self._error = error.with_traceback(None)
        self._done.set()

    def wait(self) -> Arrays:
        """Waits for the answer, which is handed out once.

        Returns:
            Output key to array.

        Raises:
            Exception: what it failed with.
        """
        self._done.wait()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # It knows this frame, and would so keep itself alive.
                del error
        return self._outputs

    def split(self, sizes: list[int]) -> list[Task]:
        """Returns tasks of so many rows each, which together are this one."""
        parts, start = [], 0
        for size in sizes:
            parts.append(Task({key: array[start : start + size] for key, array in self.feeds.items()}, size))
            start += size
        return parts


class _Batch:
    __slots__ = ("rows", "tasks")

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.rows = 0


class BatchQueue:
    """The requests that wait to be run in the same way. It is guarded by its scheduler's lock, and asks no clock.

    The last batch is open, and takes what comes; those before it are closed and wait for a thread only.

    Args:
        parameters: how requests are put together.
        run: answers the tasks of a batch, all of them and without raising.

    Attributes:
        run: as given.
        running: how many batches are being run.
        closing: nobody will come any more, so that nothing is waited for.
    """

    def __init__(self, parameters: BatchingParameters, run: Callable[[list[Task]], Any]) -> None:
        self.run = run
        self.running = 0
        self.closing = False
        self._parameters = parameters
        self._batches: collections.deque[_Batch] = collections.deque([_Batch()])
        self._opened = 0.0

    @property
    def waiting(self) -> bool:
        """Whether a task waits for a thread, or for others to go with."""
        return len(self._batches) > 1 or bool(self._batches[-1].tasks)

    @property
    def idle(self) -> bool:
        """Whether no task waits and none is being run."""
        return not self.running and not self.waiting

    def add(self, task: Task, now: float) -> list[Task]:
        """Takes a task in.

        Args:
            task: the task.
            now: the time, in seconds.

        Returns:
            What to wait for: the task, or its parts in order.

        Raises:
            ServingError: INVALID_ARGUMENT, it has more rows than a batch may; UNAVAILABLE, too many wait already.
        """
        parameters = self._parameters
        if task.rows > parameters.max_batch_size:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Task size {task.rows} is larger than maximum input batch size {parameters.max_batch_size}",
            )
        parts = self._in_parts(task) if parameters.enable_large_batch_splitting else self._whole(task)
        for part in parts:
            if self._batches[-1].rows + part.rows > parameters.execution_batch_size:
                self._batches.append(_Batch())
            batch = self._batches[-1]
            if not batch.tasks:
                self._opened = now
            batch.tasks.append(part)
            batch.rows += part.rows
        return parts

    def due(self) -> float:
        """Returns from what time on there is a batch to run: in seconds, infinite when nothing waits."""
        batch = self._batches[-1]
        if len(self._batches) > 1:
            return -math.inf
        if not batch.tasks:
            return math.inf
        if self.closing or batch.rows >= self._parameters.execution_batch_size:
            return -math.inf
        return self._opened + self._parameters.batch_timeout_micros / 1e6

    def take(self, now: float) -> list[Task] | None:
        """Returns the tasks of the batch that is due, for which `running` counts from now on; or None."""
        if self.due() > now:
            return None
        if len(self._batches) == 1:
            self._batches.append(_Batch())
        self.running += 1
        return self._batches.popleft().tasks

    def _whole(self, task: Task) -> list[Task]:
        count, parameters = len(self._batches), self._parameters
        if count >= parameters.max_enqueued_batches and self._batches[-1].rows + task.rows > parameters.max_batch_size:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{count} batches enqueued and max_enqueued_batches is {parameters.max_enqueued_batches}",
            )
        return [task]

    def _in_parts(self, task: Task) -> list[Task]:
        parameters, count, rows = self._parameters, len(self._batches), self._batches[-1].rows
        largest = parameters.execution_batch_size
        room = largest - rows
        capacity = (parameters.max_enqueued_batches - count) * largest + room
        if task.rows > capacity:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; task size is "
                f"{task.rows} but scheduling capacity is only {capacity} (num_enqueued_batches={count}, "
                f"max_enqueued_batches={parameters.max_enqueued_batches}, open_batch_size={rows}, "
                f"max_execution_batch_size={largest})",
            )
        if task.rows <= room:
            return [task]
        sizes = [room] if room else []
        left = task.rows - room
        while left:
            sizes.append(min(left, largest))
            left -= sizes[-1]
        return task.split(sizes)
