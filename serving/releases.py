"""Releases: what was released, what is live, and how an earlier version is put back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from schema.errors import ReleaseError
from serving.base_path import VersionFolders, reconcile, scan, unrecorded
from serving.ledger import Ledger
from serving.ledger_events import LedgerState
from serving.release_change import (
    Deploy,
    Digest,
    cannot_rename,
    check_no_endpoint,
    check_servable,
    endpoint_of,
    record,
    released,
    versions_text,
)
from serving.signing.trust import Trust, claimed_key

ReleaseStatus = Literal["live", "canary", "shadow", "superseded", "rolled back", "pruned", "unrecorded"]


@dataclasses.dataclass(frozen=True)
class Release:
    """A version as people are shown it.

    Attributes:
        version: the integer that TensorFlow Serving serves it under.
        status: what became of it; `unrecorded` is a folder in the base path that the ledger does not know.
        share: the share of requests that it gets as canary or shadow.
        run_id: the run that made the model.
        model_digest: the model digest.
        verdict: the verdict of that run.
        who: who released it, or put it into its present state.
        when: when that was, UTC, ISO 8601.
        pushed_when: when it was pushed, UTC, ISO 8601.
        reason: why, in words, where somebody gave a reason.
        model_uri: URI of the Model artifact.
        path: its folder, or None when there is none or no base path was given.
        problem: what does not fit between ledger and folder, in words; empty when all is well.
        key_id: the key that is said to have signed it; None for an unsigned one, empty for an unreadable signature.
    """

    version: int
    status: ReleaseStatus
    share: float | None = None
    run_id: str | None = None
    model_digest: str | None = None
    verdict: str | None = None
    who: str | None = None
    when: str | None = None
    pushed_when: str | None = None
    reason: str | None = None
    model_uri: str | None = None
    path: str | None = None
    problem: str = ""
    key_id: str | None = None


def table(ledger: Ledger | str | Path, base_path: str | Path | None = None) -> list[Release]:
    """Returns all releases, the highest version first. Changes nothing.

    Args:
        ledger: the release ledger, or its path.
        base_path: the model base path; with it, folders that do not fit the ledger are reported.

    Raises:
        ReleaseError: the ledger is damaged.
    """
    state = _ledger(ledger).state()
    folders = None if base_path is None else scan(Path(base_path))
    releases = [release_of(version, state, folders) for version in state.entries]
    if folders is not None:
        for version in unrecorded(state, folders):
            seen = version in folders.visible
            problem = "is not in the ledger" + (", and is served" if seen and version == folders.served else "")
            releases.append(
                Release(version, "unrecorded", path=str(folders.folder(version)), problem=f"its folder {problem}")
            )
    return sorted(releases, key=lambda release: -release.version)


def live(ledger: Ledger | str | Path) -> Release | None:
    """Returns the live release, or None when nothing was pushed yet.

    Raises:
        ReleaseError: the ledger is damaged.
    """
    state = _ledger(ledger).state()
    return None if state.live is None else release_of(state.live, state, None)


def rollback(
    ledger: Ledger | str | Path,
    base_path: str | Path,
    to_version: int | None = None,
    *,
    reason: str | None = None,
    digest: Digest | None = None,
    deploy: Deploy | None = None,
    trust: Trust | None = None,
) -> Release:
    """Puts an earlier version back, or a version that was rolled back forward again, and records it.

    The versions above it are withdrawn: renamed so that TensorFlow Serving, which serves the highest version, no
    longer sees them. The ledger comes first and the folders follow, so a rollback that is killed half-way is
    finished, never undone, by the next push or rollback.

    Args:
        ledger: the release ledger, or its path.
        base_path: the model base path.
        to_version: the version to serve; by default the one that was live before.
        reason: why, in words.
        digest: gives a SavedModel folder's model digest; by default `serving.model_digest.model_digest`.
        deploy: has the endpoint serve the version, for a line that a Vertex endpoint serves. It comes before the
            record: when it fails, nothing has changed.
        trust: whose signature the version must have, or None where it needs none.

    Returns:
        The release that is live now.

    Raises:
        ReleaseError: there is nothing to go back to; the version is unknown, live already, pruned or missing; its
            model is not the one that was released, or not signed as `trust` wants it; or its folders cannot be renamed.
    """
    book = _ledger(ledger)
    base = Path(base_path)
    with book.locked():
        state = book.state()
        if state.live is None:
            raise ReleaseError(f"{book.path}: nothing was released yet", hint="conveyor run LINE pushes a first model")
        try:
            finished = reconcile(base, state)
        except OSError as error:
            raise cannot_rename(base, error) from None
        folders = scan(base)
        if finished and to_version in (None, state.live) and state.entries[state.live].last.event == "rollback":
            # What was asked for is what an interrupted rollback had recorded: going back once more would be too far.
            return release_of(state.live, state, folders)
        target = _target(state, folders) if to_version is None else to_version
        entry = released(target, state)
        if target == state.live and not state.canary and _served(state, folders) == target:
            raise ReleaseError(f"version {target} is live already", hint="name another one with --to")
        check_servable(target, base, folders, state, digest, trust)
        endpoint = endpoint_of(state)
        if endpoint is not None:
            folder = folders.folder(target)
            if deploy is None or folder is None:
                check_no_endpoint(state, "a rollback without its endpoint")
            else:
                deploy(folder, entry.pushed.model_digest or "", endpoint)
        before = state.live if folders.served is None else folders.served
        state = record(book, base, "rollback", target, entry, from_version=before, reason=reason)
        return release_of(target, state, scan(base))


def _target(state: LedgerState, folders: VersionFolders) -> int:
    assert state.live is not None
    served = _served(state, folders)
    if state.canary or (served is not None and served > state.live):
        # A canary ends, or a folder that the ledger does not know is being served: the live version is the one before.
        return state.live
    if state.previous is None:
        raise ReleaseError(
            f"there must be an earlier version to go back to. Got none before version {state.live}, which is live "
            f"(released so far: {versions_text(state)})",
            hint="conveyor releases shows them all; conveyor rollback --to VERSION names one",
        )
    return state.previous


def _served(state: LedgerState, folders: VersionFolders) -> int | None:
    return max(folders.visible.keys() - state.trials, default=None)


def _ledger(ledger: Ledger | str | Path) -> Ledger:
    return ledger if isinstance(ledger, Ledger) else Ledger(ledger)


def release_of(version: int, state: LedgerState, folders: VersionFolders | None) -> Release:
    """Returns a version that the ledger knows as people are shown it; without `folders`, without looking at them."""
    entry = state.entries[version]
    status: ReleaseStatus = "superseded"
    share = None
    if entry.pruned:
        status = "pruned"
    elif version == state.live:
        status = "live"
    elif state.canary is not None and version == state.canary.version:
        status, share = "canary", state.canary.share
    elif state.shadow is not None and version == state.shadow.version:
        status, share = "shadow", state.shadow.share
    elif entry.withdrawn:
        status = "rolled back"
    folder = None if folders is None else folders.folder(version)
    return Release(
        version=version,
        status=status,
        share=share,
        run_id=entry.pushed.run_id,
        model_digest=entry.pushed.model_digest,
        verdict=entry.pushed.verdict,
        who=entry.last.who,
        when=entry.last.when,
        pushed_when=entry.pushed.when,
        reason=entry.last.reason,
        model_uri=entry.pushed.model_uri,
        path=None if folder is None else str(folder),
        problem="" if folders is None else _problem(version, status, state, folders),
        key_id=None if folder is None else claimed_key(folder),
    )


def _problem(version: int, status: ReleaseStatus, state: LedgerState, folders: VersionFolders) -> str:
    if folders.folder(version) is None:
        return "" if status == "pruned" else "its folder is missing"
    if status == "pruned":
        return "its folder is still there; the next push removes it"
    if status == "rolled back" and version in folders.visible:
        return "its folder is still visible to the server; the next push or rollback withdraws it"
    if status not in ("rolled back", "pruned") and version in folders.withdrawn:
        return "its folder is still withdrawn; the next push or rollback puts it back"
    if status == "live" and _served(state, folders) != version:
        return f"the server serves version {_served(state, folders)} instead, the highest that it sees"
    return ""
