"""Cross-request batching: what several requests ask of a model at the same time is run in one go.

As TensorFlow Serving's `--enable_batching` does: in its queues, with its limits and its words. Two things are better
than there. A request whose inputs do not have the types and shapes of the signature is run by itself, as without
batching. And when a batch fails, its requests are run one by one, so that each gets its own answer or its own error,
and not that of a stranger.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.model_server import batch_arrays
from serving.model_server.batch_queue import Task
from serving.model_server.batch_scheduler import BatchScheduler
from serving.model_server.servable import Servable
from serving.model_server.session import SessionOptions
from serving.v1_loader import Signature


class BatchedServable(Servable):
    """A servable that runs what is asked at the same time together. Each signature has a queue of its own.

    The first dimension of each input and output is taken for that of the rows.

    Args:
        name: see `Servable`.
        version: see `Servable`.
        path: see `Servable`.
        options: see `Servable`.
        scheduler: what runs the batches; several models share it.

    Raises:
        ServingError: see `Servable`.
    """

    def __init__(
        self, name: str, version: int, path: str | Path, options: SessionOptions | None, scheduler: BatchScheduler
    ) -> None:
        super().__init__(name, version, path, options)
        self._parameters = scheduler.parameters
        self._queues = scheduler.open()

    def run(self, signature: Signature, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """See `Servable.run`; waits for the batch.

        Raises:
            ServingError: INVALID_ARGUMENT, the inputs have no rows or not equally many, or more than a batch may;
                UNAVAILABLE, too many requests wait; FAILED_PRECONDITION, the inputs of the batch do not go together,
                or an output has no rows; or what TensorFlow says.
        """
        rows = batch_arrays.rows_of(feeds)
        if not batch_arrays.fits(signature, feeds):
            return super().run(signature, feeds, fetches)
        key = (signature.name, frozenset(feeds), frozenset(fetches))
        run = functools.partial(self._answer, signature, tuple(key[2]))
        outputs = [part.wait() for part in self._queues.submit(key, Task(feeds, rows), run)]
        if len(outputs) == 1:
            return [outputs[0][alias] for alias in fetches]
        return [np.concatenate([part[alias] for part in outputs]) for alias in fetches]

    def close(self) -> None:
        """See `Servable.close`; waits for the batches under way."""
        self._queues.close()
        super().close()

    def _answer(self, signature: Signature, fetches: tuple[str, ...], tasks: list[Task]) -> None:
        parameters, feeds = self._parameters, [task.feeds for task in tasks]
        sizes = [task.rows for task in tasks]
        extra = _extra_rows(sum(sizes), parameters.allowed_batch_sizes)
        try:
            batch_arrays.check_shapes(feeds, parameters.pad_variable_length_inputs)
            try:
                inputs = batch_arrays.merged(feeds, extra, parameters.pad_variable_length_inputs)
                results = super().run(signature, inputs, fetches)
            except Exception:
                if len(tasks) == 1:
                    raise
                for task in tasks:
                    self._answer(signature, fetches, [task])
                return
            outputs = batch_arrays.parts(dict(zip(fetches, results, strict=True)), sizes, extra)
        except Exception as error:
            for task in tasks:
                task.fail(error)
            return
        for task, output in zip(tasks, outputs, strict=True):
            task.answer(output)


def _extra_rows(rows: int, allowed: Sequence[int]) -> int:
    """Returns how many rows to add to a batch so that it has one of the allowed sizes, if there is one for it."""
    return next((size - rows for size in allowed if rows and size >= rows), 0)
