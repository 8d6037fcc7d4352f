"""A released version as a Model artifact's files again, for when the artifact that it was pushed from is gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from schema.errors import ReleaseError
from serving.base_path import scan
from serving.ledger_events import LedgerEvent


def restore(pushed: LedgerEvent, folder: Path) -> str:
    """Copies a released version to where it can be an artifact, and returns that artifact's URI.

    The URI follows from the model digest, so a later run finds the same one.

    Args:
        pushed: the event that released the version.
        folder: where such copies are kept.

    Raises:
        ReleaseError: the version's folder is gone too, or is not the model that was released.
    """
    from serving.model_digest import model_digest

    target = folder / str(pushed.model_digest)
    if not (target / "Format-Serving").is_dir():
        source = _source(pushed)
        if source is None or model_digest(source) != pushed.model_digest:
            raise ReleaseError(
                f"version {pushed.version} must be there to be the baseline: as {pushed.model_uri} or in its base "
                f"path, {pushed.path}. Got {'neither' if source is None else 'another model there'} instead",
                hint="restore one of the two from a backup, or move the release ledger away to have no baseline",
            )
        temporary = folder / f".tmp-{pushed.model_digest}"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source, temporary / "Format-Serving")
        os.rename(temporary, target)
    return str(target)


def _source(pushed: LedgerEvent) -> Path | None:
    if pushed.path is None or pushed.version is None:
        return None
    return scan(Path(pushed.path).parent).folder(pushed.version)
