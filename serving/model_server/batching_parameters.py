"""How requests are put together into batches: the `BatchingParameters` of TensorFlow Serving."""

from __future__ import annotations

import dataclasses
import os

from serving.model_server.errors import Code, ServingError

SERVER_THREADS = "model_server_batch_threads"
"""The threads' name under `--enable_batching` without a file of parameters."""


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """What `--batching_parameters_file` says, with TensorFlow Serving's names and defaults.

    Attributes:
        max_batch_size: rows of a batch, and of a request.
        batch_timeout_micros: µs that the first request of a batch waits for others, while a thread is free.
        max_enqueued_batches: batches of a queue that wait for a thread; a request beyond them is refused.
        num_batch_threads: batches that run at the same time, those of all models together; None for one a CPU.
        thread_pool_name: what the threads are called.
        enable_large_batch_splitting: a request is split over several batches.
        max_execution_batch_size: rows of a batch where requests are split; None for `max_batch_size`.
        allowed_batch_sizes: a batch is filled up to one of these; empty for any size.
        pad_variable_length_inputs: the inputs of a batch are filled up to the largest of them in each dimension.

    Raises:
        ServingError: INVALID_ARGUMENT; no server can work so, in TensorFlow Serving's words.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int | None = None
    thread_pool_name: str = "batch_threads"
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False

    def __post_init__(self) -> None:
        if self.num_batch_threads is not None and self.num_batch_threads < 1:
            raise _invalid(f"num_batch_threads must be positive; was {self.num_batch_threads}")
        if self.max_batch_size < 1:
            raise _invalid(f"max_batch_size must be positive; was {self.max_batch_size}")
        if self.batch_timeout_micros < 0:
            raise _invalid(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.max_enqueued_batches < 1:
            raise _invalid(f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}")
        largest = self.execution_batch_size
        if largest < 1:
            raise _invalid(f"max_execution_batch_size must be positive; was {largest}")
        if largest > self.max_batch_size:
            raise _invalid(
                "When enable_large_batch_splitting is true, max_batch_size must be greater than or equal to "
                f"max_execution_batch_size; was {self.max_batch_size} and {largest}"
            )
        self._check_sizes()

    @property
    def threads(self) -> int:
        """How many batches run at the same time."""
        return self.num_batch_threads or os.cpu_count() or 1

    @property
    def execution_batch_size(self) -> int:
        """Rows of the largest batch that is run."""
        if not self.enable_large_batch_splitting or self.max_execution_batch_size is None:
            return self.max_batch_size
        return self.max_execution_batch_size

    def _check_sizes(self) -> None:
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        if sizes[0] < 1 or any(before >= after for before, after in zip(sizes, sizes[1:], strict=False)):
            raise _invalid(
                f"allowed_batch_sizes entries must be positive and monotonically increasing; were {list(sizes)}"
            )
        if sizes[-1] != self.max_batch_size:
            raise _invalid(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.max_batch_size}"
            )


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
