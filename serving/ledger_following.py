"""What servers that follow the release ledger have in common, whoever loads the models."""

from __future__ import annotations

import os
from pathlib import Path

from schema.errors import ReleaseError

LINGER_SECONDS = 5.0
"""How long a version stays loaded after requests are led to another: those on their way still reach it."""


def file_identity(path: Path) -> tuple[int, int, int] | None:
    """Returns what changes when a file or a folder does, or None where there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def not_servable(live: int, why: str, where: str = "") -> ReleaseError:
    """Returns the error for a live version that cannot be served.

    Args:
        live: the version.
        why: what is wrong with it, a sentence.
        where: what the message begins with.
    """
    return ReleaseError(
        f"{where}version {live}, which is live, must be a model that can be served. {why}",
        hint="conveyor releases shows what is there; conveyor rollback puts an earlier version back",
    )
