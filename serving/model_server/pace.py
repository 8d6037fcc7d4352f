"""Which requests are quick enough to be answered in the event loop itself.

Handing a request to a thread and its answer back takes longer than running a small model. But whatever runs in the loop
keeps all other requests waiting. So a kind of request starts out in threads, moves into the loop once it proves quick,
and moves back out when it no longer is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TypeVar

QUICK_SECONDS = 0.002
SLOW_SECONDS = 0.01
# A larger request is not even parsed in the loop.
MAX_BYTES = 65536

# What a kind may slip: three times in short order, or once in 32 requests for long.
_SLIPS = 3
_GOOD = 1 / 32
# For how many requests a kind is looked at closely after one that was slow.
_SUSPECTED = 64
_MAX_PROOF = 1024
_MAX_KINDS = 8192
_T = TypeVar("_T")


class _Kind:
    __slots__ = ("inline", "missing", "proof", "slips", "suspect")

    def __init__(self) -> None:
        self.inline = False
        self.proof = 1
        self.missing = 1
        self.slips = 0.0
        self.suspect = 0


class Watch:
    """Measures for how long a request keeps its thread, as far as that is its own doing.

    On a busy machine most of the time by the clock is others'. So the thread's own time counts, unless so much more has
    gone by that TensorFlow must have been at work in threads of its own.
    """

    __slots__ = ("_clock", "_thread")

    def __init__(self) -> None:
        self._thread = time.thread_time()
        self._clock = time.perf_counter()

    def seconds(self) -> float:
        """Returns the time since the watch was made, in the same thread."""
        return max(time.thread_time() - self._thread, (time.perf_counter() - self._clock) / 5)


class Pace:
    """Remembers how long each kind of request takes. To be used from the loop's thread only.

    A kind is what requests that take equally long have in common.

    Args:
        enabled: False to answer everything in threads, as where requests wait for each other to make a batch.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._kinds: dict[Hashable, _Kind] = {}

    def is_quick(self, kind: Hashable) -> bool:
        """Returns whether `run` would do the work of a request of this kind."""
        found = self._kinds.get(kind)
        return found is not None and found.inline

    def run(self, kind: Hashable, work: Callable[[], _T]) -> _T | None:
        """Does the work of a request, if it is of a kind that is quick, and returns what comes of it; else None."""
        found = self._kinds.get(kind)
        if found is None or not found.inline:
            return None
        # Asking for the thread's own time takes longer than all else here, so it is asked for on suspicion only.
        watch = Watch() if found.suspect else None
        clock = time.perf_counter()
        try:
            return work()
        finally:
            if watch is not None:
                self._look(found, watch.seconds())
            elif time.perf_counter() - clock > SLOW_SECONDS:
                found.suspect = _SUSPECTED

    def took(self, kind: Hashable, seconds: float) -> None:
        """Takes note of how long a request took in a thread, by its `Watch`."""
        if not self._enabled:
            return
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            found = self._kinds[kind] = _Kind()
        if seconds < QUICK_SECONDS and not found.inline:
            found.missing -= 1
            found.inline = found.missing <= 0

    def kept(self, kind: Hashable, seconds: float) -> None:
        """Takes note of how long a request that `is_quick` kept a thread, by its `Watch`."""
        found = self._kinds.get(kind)
        if found is not None and (found.suspect or seconds > SLOW_SECONDS):
            self._look(found, seconds)

    def _look(self, found: _Kind, seconds: float) -> None:
        if seconds <= SLOW_SECONDS:
            found.slips = max(found.slips - _GOOD, 0)
            found.suspect -= 1
            return
        found.slips += 1
        found.suspect = _SUSPECTED
        if found.slips >= _SLIPS:
            # Twice as much proof every time, so that what is slow now and then ends up in threads.
            found.proof = found.missing = min(2 * found.proof, _MAX_PROOF)
            found.inline, found.slips = False, 0.0
