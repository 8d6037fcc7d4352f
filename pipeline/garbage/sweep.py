"""Carries a plan out, so that wherever it is interrupted the next collection can finish it.

First ML Metadata says of artifacts that they are marked for deletion: TFX's cache answers with them no more. Then
each folder leaves its place by one rename: whoever looks for it sees all of it or none. Then ML Metadata says that the
artifacts are deleted. Then the files go.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from pipeline.garbage.metadata import set_state
from pipeline.garbage.places import TRASH
from pipeline.garbage.plan import Plan
from pipeline.state import State
from schema.errors import ConveyorError


def empty_trash(state: State) -> None:
    """Removes what has left its place already.

    Raises:
        ConveyorError: a file cannot be removed.
    """
    trash = state.root / TRASH
    if trash.is_symlink():
        # Whatever it leads to is none of ours.
        trash.unlink()
    if not trash.is_dir():
        return
    try:
        shutil.rmtree(trash)
    except OSError as error:
        raise _stuck(error.filename or trash, error) from None


def carry_out(plan: Plan, state: State, store: Any | None) -> None:
    """Removes what a plan says; what was in the trash has gone.

    Args:
        plan: the plan.
        state: the line's state, which the caller holds.
        store: ML Metadata's store; None when the line has none.

    Raises:
        ConveyorError: a folder cannot be moved or removed.
        MetadataError: ML Metadata cannot be written.
    """
    trash = state.root / TRASH
    try:
        trash.mkdir()
    except OSError as error:
        raise _stuck(trash, error) from None
    if store is not None:
        set_state(store, plan.to_restore, "LIVE")
        set_state(store, plan.to_mark, "MARKED_FOR_DELETION")
    for number, item in enumerate(plan.removed):
        if item.path == str(trash):
            continue
        try:
            os.rename(item.path, trash / str(number))
        except OSError as error:
            raise _stuck(item.path, error) from None
    if store is not None:
        set_state(store, plan.to_delete, "DELETED")
    empty_trash(state)


def _stuck(path: str | Path, error: OSError) -> ConveyorError:
    return ConveyorError(
        f"{path} must be a folder or file that can be moved and removed. Got an error instead: {error.strerror}",
        hint="mend that, mostly by write permission on it and on its folder; the next conveyor gc finishes",
    )
