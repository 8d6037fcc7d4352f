"""Requests that are there at the same moment, run as one.

A small model takes hardly longer for sixteen rows than for one. So while a batch runs in a thread, the event loop reads
what else has come, and all of that is the next batch. A request waits for the batch before it, never for others to
come: that is what `--enable_batching` is for. Where requests come one by one, each runs in the loop at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import weakref
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from serving.model_server.pace import Watch

if TYPE_CHECKING:
    from serving.model_server.pace import Pace
    from serving.model_server.predict_frame import Frame, Values
    from serving.model_server.predict_plan import Binding, Planned
    from serving.model_server.servable import Servable
    from serving.model_server.versions import Lease

MAX_REQUESTS = 64
"""Requests that run together, at most."""

CROWDED_SECONDS = 0.1
"""For so long after two requests were there at the same time, others are expected too. gRPC hands them over one by one,
so that none is seen while one runs in the loop."""

Outputs = list[np.ndarray]
_Ran = Future[tuple[list[Outputs] | None, float]]


@dataclasses.dataclass
class _Request:
    lease: Lease
    values: Values
    outputs: asyncio.Future[Outputs | None]


@dataclasses.dataclass
class _Batch:
    """Requests of one form to one servable. While it runs it has a lease of its own, since a caller may go away."""

    kind: Hashable
    servable: Servable
    frame: Frame
    binding: Binding
    requests: list[_Request] = dataclasses.field(default_factory=list)
    lease: Lease | None = None

    def run(self) -> list[Outputs] | None:
        """Returns the outputs of each request; None if the model has an output that has not a row each."""
        feeds = self.frame.arrays([request.values for request in self.requests])
        outputs = self.servable.run(self.binding.signature, feeds, self.binding.fetches)
        count, rows = len(self.requests), self.frame.rows
        if count == 1:
            return [outputs]
        if any(not output.ndim or len(output) != count * rows for output in outputs):
            return None
        return [[output[i * rows : (i + 1) * rows] for output in outputs] for i in range(count)]

    def run_watched(self) -> tuple[list[Outputs] | None, float]:
        """Runs, and returns besides how many seconds it kept the thread."""
        watch = Watch()
        return self.run(), watch.seconds()


class Gatherer:
    """Runs what has come together. To be used from the loop's thread only.

    Args:
        pace: knows which requests are quick.

    Attributes:
        present: requests that have come and are not answered yet, of any kind; the server counts them.
    """

    def __init__(self, pace: Pace) -> None:
        self.present = 0
        self._pace = pace
        self._batches: dict[Hashable, _Batch] = {}
        self._running = 0
        self._crowded_until = 0.0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gathered")
        # Those with an output that has not a row each: every request of theirs runs alone.
        self._not_by_row: weakref.WeakSet[Servable] = weakref.WeakSet()

    async def run(self, kind: Hashable, lease: Lease, planned: Planned, binding: Binding) -> Outputs | None:
        """Runs a request together with others.

        Args:
            kind: what `Pace` knows it by.
            lease: the caller's lease of the model.
            planned: the request; its frame must be `by_row`.
            binding: what its plan comes to with the model.

        Returns:
            An array an output; None where the request must be run otherwise: its kind is not quick, or the model has
            failed (so that each request gets the error that is its own).
        """
        servable, frame = lease.servable, planned.plan.frame
        if servable in self._not_by_row or not self._pace.is_quick(kind):
            return None
        now = time.perf_counter()
        if self.present > 1:
            self._crowded_until = now + CROWDED_SECONDS
        elif now > self._crowded_until and not self._running:
            feeds = frame.arrays([planned.values])
            return self._pace.run(kind, lambda: servable.run(binding.signature, feeds, binding.fetches))
        loop = asyncio.get_running_loop()
        if not self._batches and not self._running:
            loop.call_soon(self._start, loop)
        key = (id(servable), id(frame))
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = _Batch(kind, servable, frame, binding)
        request = _Request(lease, planned.values, loop.create_future())
        batch.requests.append(request)
        return await request.outputs

    def close(self) -> None:
        """Ends the thread, once it is done."""
        self._executor.shutdown(wait=False)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            # Whose caller has gone away has let go of the servable too.
            waiting = [request for request in batch.requests if not request.outputs.done()]
            for start in range(0, len(waiting), MAX_REQUESTS):
                part = dataclasses.replace(
                    batch, requests=waiting[start : start + MAX_REQUESTS], lease=waiting[start].lease.another()
                )
                self._running += 1
                future = self._executor.submit(part.run_watched)
                future.add_done_callback(lambda done, part=part: self._hand_over(loop, part, done))  # type: ignore[misc]

    def _hand_over(self, loop: asyncio.AbstractEventLoop, batch: _Batch, future: _Ran) -> None:
        """Called in the thread."""
        loop.call_soon_threadsafe(self._done, loop, batch, future)

    def _done(self, loop: asyncio.AbstractEventLoop, batch: _Batch, future: _Ran) -> None:
        self._running -= 1
        if batch.lease is not None:
            batch.lease.release()
        outputs = None
        if future.exception() is None:
            outputs, seconds = future.result()
            self._pace.kept(batch.kind, seconds)
            if outputs is None:
                self._not_by_row.add(batch.servable)
        for i, request in enumerate(batch.requests):
            if not request.outputs.done():
                request.outputs.set_result(None if outputs is None else outputs[i])
        if self._batches and not self._running:
            self._start(loop)
