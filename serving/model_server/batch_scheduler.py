"""The threads that run batches: a fixed number for all models, which serve their queues in turn."""

from __future__ import annotations

import collections
import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

from serving.model_server.batch_queue import BatchQueue, Task
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.errors import Code, ServingError

MAX_QUEUES = 64
"""Queues of a model that are kept though nothing waits in them: a client may name any subset of the outputs."""


class BatchScheduler:
    """Runs the batches of several models. Safe to use from several threads.

    Its threads are there while a model is.

    Args:
        parameters: how requests are put together, and in how many threads they are run.

    Attributes:
        parameters: as given.
    """

    def __init__(self, parameters: BatchingParameters) -> None:
        self.parameters = parameters
        lock = threading.Lock()
        self._work = threading.Condition(lock)
        self._idle = threading.Condition(lock)
        # In turn, those in which something waits.
        self._waiting: collections.deque[BatchQueue] = collections.deque()
        self._models = 0
        self._threads = 0

    def open(self) -> BatchQueues:
        """Returns the queues of one more model; they are to be closed."""
        with self._work:
            while self._threads < self.parameters.threads:
                name = f"{self.parameters.thread_pool_name}_{self._threads}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
                self._threads += 1
            self._models += 1
        return BatchQueues(self)

    def submit(self, queues: BatchQueues, key: Hashable, task: Task, run: Callable[[list[Task]], Any]) -> list[Task]:
        """See `BatchQueues.submit`."""
        with self._work:
            if queues.closed:
                raise ServingError(Code.UNAVAILABLE, "The model to which this task was submitted is being unloaded")
            queue = queues.find(key, lambda: BatchQueue(self.parameters, run))
            was_waiting = queue.waiting
            parts = queue.add(task, time.monotonic())
            if not was_waiting:
                self._waiting.append(queue)
            self._work.notify()
            return parts

    def close(self, queues: BatchQueues) -> None:
        """See `BatchQueues.close`."""
        with self._work:
            if not queues.closed:
                queues.close_all()
                self._models -= 1
                self._work.notify_all()
            self._idle.wait_for(lambda: queues.idle)

    def _run(self) -> None:
        # Nothing is kept in a local variable here, or an idle thread would keep a closed model alive.
        while self._run_one():
            pass

    def _run_one(self) -> bool:
        with self._work:
            while (taken := self._take()) is None:
                if not self._models and not self._waiting:
                    self._threads -= 1
                    return False
                due = min((queue.due() for queue in self._waiting), default=math.inf)
                self._work.wait(None if due == math.inf else max(due - time.monotonic(), 0))
            if self._waiting:
                # Whoever waits now may not know by when.
                self._work.notify()
        queue, tasks = taken
        try:
            queue.run(tasks)
        except BaseException as error:
            for task in tasks:
                if not task.done:
                    task.fail(error)
        with self._work:
            queue.running -= 1
            if queue.idle:
                self._idle.notify_all()
        return True

    def _take(self) -> tuple[BatchQueue, list[Task]] | None:
        now = time.monotonic()
        for _ in range(len(self._waiting)):
            queue = self._waiting.popleft()
            tasks = queue.take(now)
            if queue.waiting:
                self._waiting.append(queue)
            if tasks is not None:
                return queue, tasks
        return None


class BatchQueues:
    """The queues of one model. But for `submit` and `close` they are guarded by the scheduler's lock.

    Args:
        scheduler: what runs them.

    Attributes:
        closed: nothing more can be added.
    """

    def __init__(self, scheduler: BatchScheduler) -> None:
        self.closed = False
        self._scheduler = scheduler
        self._queues: dict[Hashable, BatchQueue] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being run."""
        return all(queue.idle for queue in self._queues.values())

    def submit(self, key: Hashable, task: Task, run: Callable[[list[Task]], Any]) -> list[Task]:
        """Adds a task to a queue.

        Args:
            key: which queue: what has equal ones may go together.
            task: the task.
            run: answers tasks of this queue, all of them.

        Returns:
            What to wait for: the task, or its parts in order.

        Raises:
            ServingError: see `BatchQueue.add`; UNAVAILABLE after `close`.
        """
        return self._scheduler.submit(self, key, task, run)

    def close(self) -> None:
        """Waits until all that was added has been answered. Nothing can be added any more."""
        self._scheduler.close(self)
        self._queues.clear()

    def find(self, key: Hashable, make: Callable[[], BatchQueue]) -> BatchQueue:
        """Returns a queue, a new one if there is none."""
        queue = self._queues.get(key)
        if queue is None:
            if len(self._queues) >= MAX_QUEUES:
                self._queues = {other: found for other, found in self._queues.items() if not found.idle}
            queue = self._queues[key] = make()
        return queue

    def close_all(self) -> None:
        """Lets what waits for others go without them."""
        self.closed = True
        for queue in self._queues.values():
            queue.closing = True
