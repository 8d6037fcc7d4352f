"""Requests that come together, run as one.

A small model takes hardly longer for sixteen rows than for one. Where clients ask again once they have their answers,
as many requests come between two batches as there are clients. So a batch begins when as many are there as came
together before; or when none has come for a moment, whoever may be missing. All of it happens in the event loop: a
thread for the batches would spend on handing Python's lock to and fro what they save.

Nobody waits for others as long as the loop has time to run each request by itself, at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np

from serving.model_server.crowd import Crowd
from serving.model_server.pace import Watch

if TYPE_CHECKING:
    from serving.model_server.pace import Pace
    from serving.model_server.predict_frame import Frame, Values
    from serving.model_server.predict_plan import Binding, Planned
    from serving.model_server.servable import Servable

WAIT_SECONDS = 0.02
"""No request waits longer than this for others."""

Outputs = list[np.ndarray]


@dataclasses.dataclass
class _Request:
    values: Values
    outputs: asyncio.Future[Outputs | None]


@dataclasses.dataclass
class _Batch:
    """Requests of one form to one servable, of which each caller has a lease."""

    kind: Hashable
    servable: Servable
    frame: Frame
    binding: Binding
    requests: list[_Request] = dataclasses.field(default_factory=list)

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


class Gatherer:
    """Runs together what comes together. To be used from the loop's thread only.

    Args:
        pace: knows which requests are quick.
        crowd: knows how they come.
    """

    def __init__(self, pace: Pace, crowd: Crowd | None = None) -> None:
        self._pace = pace
        self._crowd = crowd or Crowd()
        self._batches: dict[Hashable, _Batch] = {}
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        # Those with an output that has not a row each: every request of theirs runs alone.
        self._not_by_row: weakref.WeakSet[Servable] = weakref.WeakSet()

    async def run(self, kind: Hashable, servable: Servable, planned: Planned, binding: Binding) -> Outputs | None:
        """Runs a request together with others.

        Args:
            kind: what `Pace` knows it by.
            servable: the model, of which the caller has a lease until this is over.
            planned: the request; its frame must be `by_row`.
            binding: what its plan comes to with the model.

        Returns:
            An array an output; None where the request must be run otherwise: its kind is not quick, or the model has
            failed (so that each request gets the error that is its own).
        """
        frame = planned.plan.frame
        if servable in self._not_by_row or not self._pace.is_quick(kind):
            return None
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._crowd.comes(now)
        if not self._crowd.is_busy and not self._waiting:
            return self._pace.run(kind, lambda: self._timed(servable, frame.arrays([planned.values]), binding))
        key = (id(servable), id(frame))
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = _Batch(kind, servable, frame, binding)
        request = _Request(planned.values, loop.create_future())
        batch.requests.append(request)
        self._waiting += 1
        if self._crowd.is_there(self._waiting):
            self._begin()
        elif self._timer is None:
            self._timer = loop.call_later(self._crowd.gap, self._look_again, loop, -1, now + WAIT_SECONDS)
        return await request.outputs

    def _timed(self, servable: Servable, feeds: dict[str, np.ndarray], binding: Binding) -> Outputs:
        started = time.perf_counter()
        outputs = servable.run(binding.signature, feeds, binding.fetches)
        self._crowd.ran(time.perf_counter() - started)
        return outputs

    def _look_again(self, loop: asyncio.AbstractEventLoop, seen: int, latest: float) -> None:
        # Not by the clock alone: where the machine is busy, the loop itself may have stood still for that long.
        if self._waiting == seen or loop.time() > latest:
            self._begin()
        else:
            self._timer = loop.call_later(self._crowd.gap, self._look_again, loop, self._waiting, latest)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._crowd.begins(self._waiting)
        self._waiting = 0
        batches, self._batches = self._batches, {}
        for batch in batches.values():
            # Whose caller has gone away has let go of the servable too.
            waiting = [request for request in batch.requests if not request.outputs.done()]
            room = batch.binding.room
            for part in room.parts(waiting):
                seconds = self._run(dataclasses.replace(batch, requests=part))
                room.ran(len(part), seconds)

    def _run(self, batch: _Batch) -> float:
        watch = Watch()
        outputs: list[Outputs] | None = None
        try:
            outputs = batch.run()
        except Exception:  # noqa: S110  # each runs again by itself, and fails by itself
            pass
        else:
            if outputs is None:
                self._not_by_row.add(batch.servable)
        seconds = watch.seconds()
        self._crowd.ran(seconds)
        self._pace.kept(batch.kind, seconds)
        for i, request in enumerate(batch.requests):
            request.outputs.set_result(None if outputs is None else outputs[i])
        return seconds
