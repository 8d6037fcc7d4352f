"""How requests come: whether the event loop is busy with them, how many come together, how many may run together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from serving.model_server.pace import SLOW_SECONDS

MAX_REQUESTS = 64
"""Requests that run together, at most."""

_MAX_GAP_SECONDS = 0.004
# When nobody has come for as long as so many runs take, nobody else is waited for.
_GAP_RUNS = 3
# When the loop's thread works for more than this share of the time, it is to save on runs.
_BUSY = 0.5
_WINDOW_SECONDS = 0.1
# In batches.
_COUNTED_AGAIN = 32
_ALONE_COUNTED_AGAIN = 256
_NEWEST = 0.1

# A batch of several is to keep the loop no longer. On a busy machine some do: a tenth of them may.
_LONG_SECONDS = SLOW_SECONDS / 2
_SLIPS = 3
_GOOD = 0.1
_TRIED_AGAIN = 100

_T = TypeVar("_T")


class Crowd:
    """Knows whether the loop is busy, and how many requests come together.

    The latter is counted by waiting until no more come. It need not be done for each batch: the next ones begin once as
    many are there.

    Args:
        thread_time: the time that the loop's thread has worked, in seconds.

    Attributes:
        is_busy: whether the loop had little time left of late.
        gap: for how long nobody must have come, in seconds, before nobody else is waited for.
    """

    def __init__(self, thread_time: Callable[[], float] = time.thread_time) -> None:
        self.is_busy = False
        self._thread_time = thread_time
        self._worked = 0.0
        self._since = 0.0
        self._run_seconds = 0.0
        self._expected = 1
        self._until_counted = 0
        self._interval = _COUNTED_AGAIN

    @property
    def gap(self) -> float:
        """See the class."""
        return min(_GAP_RUNS * self._run_seconds, _MAX_GAP_SECONDS)

    def comes(self, now: float) -> None:
        """Takes note of a request.

        Args:
            now: the time in seconds, by any clock.
        """
        passed = now - self._since
        if passed >= _WINDOW_SECONDS:
            worked = self._thread_time()
            self.is_busy = worked - self._worked > _BUSY * passed
            self._worked, self._since = worked, now

    def ran(self, seconds: float) -> None:
        """Takes note of how long a run took, be it for one request or for several."""
        self._run_seconds += _NEWEST * (seconds - self._run_seconds)

    def is_there(self, waiting: int) -> bool:
        """Returns whether nobody else is to be waited for.

        Args:
            waiting: how many wait.
        """
        return waiting >= MAX_REQUESTS or (self._until_counted > 0 and waiting >= self._expected)

    def begins(self, waiting: int) -> None:
        """Takes note of how many there are when their batch begins."""
        if self._until_counted > 0 and waiting >= self._expected:
            self._until_counted -= 1
        else:
            # One who is late is not gone.
            self._expected = max(waiting, self._expected * 3 // 4)
            # Who is alone is not to wait for nobody so often that it shows.
            alone = self._expected == 1
            self._interval = min(2 * self._interval, _ALONE_COUNTED_AGAIN) if alone else _COUNTED_AGAIN
            self._until_counted = self._interval


class Room:
    """How many requests of a model may run together: fewer where many keep the loop for too long, time and again.

    Attributes:
        most: so many.
    """

    def __init__(self) -> None:
        self.most = MAX_REQUESTS
        self._slips = 0.0
        self._good = 0

    def parts(self, requests: list[_T]) -> Iterator[list[_T]]:
        """Yields requests that may run together."""
        start = 0
        while start < len(requests):
            end = start + self.most
            yield requests[start:end]
            start = end

    def ran(self, count: int, seconds: float) -> None:
        """Takes note of how long so many have kept the loop."""
        if count > 1 and seconds > _LONG_SECONDS:
            self._slips += 1
            if self._slips >= _SLIPS:
                self.most, self._slips, self._good = max(self.most // 2, 1), 0.0, 0
            return
        self._slips = max(self._slips - _GOOD, 0.0)
        if self.most < MAX_REQUESTS:
            self._good += 1
            if self._good >= _TRIED_AGAIN:
                self.most, self._good = 2 * self.most, 0
