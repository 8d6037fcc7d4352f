"""The model of a batch: a version of the release ledger, checked against its folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from schema.errors import ReleaseError
from serving.base_path import scan
from serving.ledger import Ledger
from serving.release_change import released
from serving.signing.trust import Trust


@dataclasses.dataclass(frozen=True)
class ReleasedModel:
    """A version that was released.

    Attributes:
        version: the integer that it is served under.
        digest: its model digest.
        run_id: the run that made it.
        path: its SavedModel's directory, withdrawn or not.
        ledger: the release ledger.
    """

    version: int
    digest: str
    run_id: str | None
    path: Path
    ledger: Path


def find_model(ledger: Path, base_path: Path, version: int | None) -> ReleasedModel:
    """Finds the live version, or another one.

    Args:
        ledger: the release ledger.
        base_path: the model base path.
        version: the version that is wanted, or None for the live one.

    Raises:
        ReleaseError: nothing was released, the version is unknown or gone, or the ledger is damaged.
    """
    state = Ledger(ledger).state()
    chosen = state.live if version is None else version
    if chosen is None:
        raise ReleaseError(
            f"{ledger}: the line must have a live model. Got none instead", hint="conveyor run LINE pushes a first one"
        )
    pushed = released(chosen, state).pushed
    folder = scan(base_path).folder(chosen)
    if folder is None or pushed.model_digest is None:
        raise ReleaseError(
            f"{base_path}: version {chosen} must have a folder and a digest. Got none instead",
            hint="restore it from a backup, or name another version with --model-version",
        )
    return ReleasedModel(chosen, pushed.model_digest, pushed.run_id, folder, ledger)


def check_model(model: ReleasedModel, trust: Trust | None = None) -> None:
    """Checks that the folder holds the model that was released. Imports TensorFlow.

    Args:
        model: the model.
        trust: whose signature it must have, or None where it needs none.

    Raises:
        ReleaseError: it does not.
    """
    if trust is not None:
        trust.check(model.path, Ledger(model.ledger).state(), model.version)
    from serving.model_digest import model_digest

    found = model_digest(model.path)
    if found != model.digest:
        raise ReleaseError(
            f"{model.path}: version {model.version} must be the model that was released, digest {model.digest}. "
            f"Got {found} instead",
            hint="somebody changed it: restore it from a backup, or name another version with --model-version",
        )
