"""What went wrong in a step, as a file beside its executor output, for whoever reads the run or waits for the step."""

from __future__ import annotations

import json
from pathlib import Path

from schema import errors

ERROR_FILE = "error.json"
"""Beside the executor output of a step that failed."""


class StepFailed(errors.ConveyorError):
    """A step of a compiled pipeline ended with an error that has no name of ours."""


def leave_failure(folder: Path, error: Exception) -> None:
    """Writes down what went wrong.

    Args:
        folder: the folder of the step.
        error: why it failed.
    """
    text = str(error.args[0]) if isinstance(error, errors.ConveyorError) and error.args else str(error)
    hint = error.hint if isinstance(error, errors.ConveyorError) else ""
    document = {"type": type(error).__name__, "message": text, "hint": hint}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR_FILE).write_text(json.dumps(document) + "\n", encoding="utf-8")


def told_failure(name: str, folder: Path) -> errors.ConveyorError | None:
    """Returns the error that a step has left, of its own kind where that is one of ours, or None if there is none.

    Args:
        name: the step.
        folder: its folder.
    """
    told = folder / ERROR_FILE
    if not told.is_file():
        return None
    document = json.loads(told.read_text(encoding="utf-8"))
    kind = getattr(errors, document["type"], None)
    if isinstance(kind, type) and issubclass(kind, errors.ConveyorError):
        return kind(document["message"], hint=document["hint"])
    return StepFailed(f"{name}: {document['type']}: {document['message']}", hint=document["hint"])
