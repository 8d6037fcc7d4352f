"""From a version's folder to a servable that has been tried: verified, loaded, warmed up, and all that again."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from schema.errors import ConveyorError
from serving.model_server import warm_up
from serving.model_server.batch_scheduler import BatchScheduler
from serving.model_server.batching import BatchedServable
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.errors import Code, ServingError
from serving.model_server.predict import run_predict
from serving.model_server.servable import Servable, from_tensorflow
from serving.model_server.session import SessionOptions

_log = logging.getLogger(__name__)

Verify = Callable[[str, int, Path], None]
"""Is given a model's name, a version and its folder before that is loaded; what it raises fails the load."""

Opened = Callable[[str, int, Path], contextlib.AbstractContextManager[Path]]
"""Is given the same, and gives the folder to load from instead, which need not be there afterwards."""


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded.

    Attributes:
        session: how their sessions are made.
        max_num_load_retries: attempts after the first one.
        load_retry_interval_micros: µs between attempts; not positive: none.
        enable_model_warmup: replay the warm-up file, where there is one.
        num_request_iterations_for_warmup: how many times each of its requests is run.
        verify: what is asked first, or None.
        opened: gives the folder to load from, or None to load from the version's own.
        batching: how requests are put together, or None to run each by itself.
        scheduler: what runs the batches of all that is loaded with these options; None without batching.
    """

    session: SessionOptions = SessionOptions()
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    verify: Verify | None = None
    opened: Opened | None = None
    batching: BatchingParameters | None = None
    scheduler: BatchScheduler | None = dataclasses.field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.batching is not None:
            object.__setattr__(self, "scheduler", BatchScheduler(self.batching))


def load(name: str, version: int, path: Path, options: LoadOptions, cancelled: threading.Event) -> Servable:
    """Loads a version, in as many attempts as the options allow.

    Args:
        name: the model's name.
        version: the version.
        path: its folder.
        options: how.
        cancelled: ends the attempts when it is set; a running one is finished.

    Raises:
        ServingError: the last attempt's error.
    """
    error = ServingError(Code.CANCELLED, "Loading of servable cancelled")
    for attempt in range(max(options.max_num_load_retries, 0) + 1):
        if attempt and cancelled.wait(max(options.load_retry_interval_micros, 0) / 1e6):
            break
        try:
            return _attempt(name, version, path, options)
        except ServingError as failed:
            # A new one: the first one's traceback would keep what was loaded alive.
            error = ServingError(failed.code, failed.message)
            _log.error(
                "Loading servable: {name: %s version: %s} failed, attempt %d of %d: %s: %s",
                name,
                version,
                attempt + 1,
                options.max_num_load_retries + 1,
                error.code.name,
                error.message,
            )
    raise error


def _attempt(name: str, version: int, path: Path, options: LoadOptions) -> Servable:
    try:
        if options.verify is not None:
            options.verify(name, version, path)
        opened = contextlib.nullcontext(path) if options.opened is None else options.opened(name, version, path)
        with opened as folder:
            servable = _servable(name, version, folder, options)
            try:
                _warm_up(servable, options)
            except BaseException:
                servable.close()
                raise
        return servable
    except ServingError:
        raise
    except ConveyorError as error:
        raise ServingError(Code.FAILED_PRECONDITION, str(error)) from error
    except Exception as error:
        raise from_tensorflow(error) from error


def _servable(name: str, version: int, path: Path, options: LoadOptions) -> Servable:
    if options.scheduler is None:
        return Servable(name, version, path, options.session)
    return BatchedServable(name, version, path, options.session, options.scheduler)


def _warm_up(servable: Servable, options: LoadOptions) -> None:
    file = servable.path / warm_up.FILE
    if options.enable_model_warmup and file.is_file():
        iterations = max(options.num_request_iterations_for_warmup, 1)
        count = warm_up.replay(file, functools.partial(run_predict, servable), iterations)
        _log.info("Warmed {name: %s version: %s} up with %d requests", servable.name, servable.version, count)
