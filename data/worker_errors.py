"""Errors of workers: what a job raised in another process is raised here as it was there.

Beam passes the exception of a worker process on as a RuntimeError that has the stack trace for a message, and that of
its own process as a new one without the hint. Rejected data would look like a failure, with another exit code.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from data.whole_file import replace_bytes, scratch_folder

Result = TypeVar("Result")
Noting = Callable[[Callable[..., Result]], Callable[..., Result]]


@contextlib.contextmanager
def raised_here(folder: str | Path) -> Iterator[Noting[Any]]:
    """Runs a block whose workers' errors are raised as they were on the workers.

    Args:
        folder: where a note of an error may lie for a moment; the workers see it under the same path.

    Yields:
        A wrapper for the functions that workers call. Whatever such a function raises is what the block raises; an
        exception that cannot be pickled comes in the form that Beam gives it.
    """
    with scratch_folder(Path(folder), "errors") as notes:
        try:
            yield functools.partial(functools.partial, _noting, notes)
        except Exception as wrapped:
            errors = [pickle.loads(note.read_bytes()) for note in sorted(notes.glob("*.pickle"))]
            if not errors:
                raise
            raise min(errors, key=str) from wrapped


def _noting(notes: Path, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    try:
        return function(*args, **kwargs)
    except Exception as error:
        # The note is an extra: if it cannot be made, Beam still has the error.
        with contextlib.suppress(Exception):
            note = pickle.dumps(error)
            pickle.loads(note)
            replace_bytes(notes / f"{uuid.uuid4().hex}.pickle", note)
        raise
