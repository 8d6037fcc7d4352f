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
from typing import Any

from data.whole_file import replace_bytes, scratch_folder


@contextlib.contextmanager
def raised_here(folder: str | Path) -> Iterator[Noting]:
    """Runs a block whose workers' errors are raised as they were on the workers.

    Args:
        folder: where a note of an error may lie for a moment; the workers see it under the same path.

    Yields:
        A wrapper for the functions that workers call. Whatever such a function raises is what the block raises; an
        exception that cannot be pickled comes in the form that Beam gives it.
    """
    with scratch_folder(Path(folder), "errors") as notes:
        try:
            yield Noting(notes)
        except Exception as wrapped:
            errors = [pickle.loads(note.read_bytes()) for note in sorted(notes.glob("*.pickle"))]
            if not errors:
                raise
            raise min(errors, key=str) from wrapped


class Noting:
    """Wraps the functions that workers call.

    Attributes:
        folder: where a note of an error lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function that notes what it raises."""
        return _Noting(self.folder, function)


class _Noting:
    """A function that notes what it raises. Not a closure, so that it can be pickled."""

    def __init__(self, notes: Path, function: Callable[..., Any]) -> None:
        self._notes = notes
        self._function = function
        # Beam reads the signature for its types.
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._function(*args, **kwargs)
        except Exception as error:
            # The note is an extra: if it cannot be made, Beam still has the error.
            with contextlib.suppress(Exception):
                note = pickle.dumps(error)
                pickle.loads(note)
                replace_bytes(self._notes / f"{uuid.uuid4().hex}.pickle", note)
            raise
