"""The model that a run's training began with: put into the rebuild's state as released, so that training finds it."""

from __future__ import annotations

from components.pusher.push import Candidate, push
from pipeline.rebuild.original import Original
from pipeline.record import base_path
from pipeline.state import State
from schema.errors import ConveyorError
from serving.base_path import scan
from serving.ledger import Ledger
from serving.model_digest import model_digest


def seed_served(original: Original, state: State, digest: str) -> str:
    """Releases a copy of the model with this digest in the state of a rebuild.

    Args:
        original: the run, whose line released that model.
        state: the state of the rebuild.
        digest: the model digest.

    Returns:
        What was done, in words.

    Raises:
        ConveyorError: no version of the line holds that model any more.
    """
    ledger = Ledger(original.state.ledger).state()
    folders = scan(base_path(original.state, original.record))
    for version in ledger.with_digest(digest):
        folder = folders.folder(version)
        if folder is None or model_digest(folder) != digest:
            continue
        run_id = ledger.entries[version].pushed.run_id or "unknown"
        candidate = Candidate(folder, digest, str(folder), run_id)
        push(candidate, state.base_path(None), Ledger(state.ledger), digest=model_digest)
        return f"training began with version {version} (trainer.warm_start), model digest {digest}"
    raise ConveyorError(
        f"a version of line {original.record.line} must hold the model that training began with, digest {digest}. "
        "Got none",
        hint="rebuild the run that made it first; pusher.keep_versions says how many versions are kept",
    )
