"""A change of what is released: checked against ledger and folders, recorded, then carried out on the folders.

The ledger comes first and the folders follow, so a change that is killed half-way is finished, never undone, by the
next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schema.errors import ReleaseError
from serving.base_path import VersionFolders, reconcile
from serving.ledger import Ledger, os_user, utc_now
from serving.ledger_events import Entry, Kind, LedgerEvent, LedgerState
from serving.signing.trust import Trust

Digest = Callable[[Path], str]
Deploy = Callable[[Path, str, dict[str, Any]], None]
"""Has an endpoint serve a version's folder, given its model digest and the endpoint's config; done when it returns."""


def released(version: int, state: LedgerState) -> Entry:
    """Returns the entry of a version that was released and is still there.

    Raises:
        ReleaseError: it is unknown or was pruned.
    """
    entry = state.entries.get(version)
    if entry is None:
        raise ReleaseError(
            f"the version must be one that was released: {versions_text(state)}. Got {version} instead",
            hint="conveyor releases shows them all",
        )
    if entry.pruned:
        raise ReleaseError(
            f"version {version} was pruned on {entry.last.when} and is gone from the base path",
            hint="run the line again on that run's data, or raise pusher.keep_versions for the next time",
        )
    return entry


def versions_text(state: LedgerState) -> str:
    """Returns the versions of a ledger in words."""
    return ", ".join(str(version) for version in state.entries) or "none yet"


def check_servable(
    version: int,
    base: Path,
    folders: VersionFolders,
    state: LedgerState,
    digest: Digest | None,
    trust: Trust | None = None,
) -> None:
    """Checks that a version's folder is there, holds the model that was released, and can be renamed.

    Args:
        version: the version, one that was released.
        base: the model base path.
        folders: its folders.
        state: what the ledger says.
        digest: gives a SavedModel folder's model digest; by default `serving.model_digest.model_digest`.
        trust: whose signature the version must have, or None where it needs none.

    Raises:
        ReleaseError: it is not so.
    """
    folder = folders.folder(version)
    if folder is None:
        raise ReleaseError(
            f"{base}: version {version} must have a folder. Got none instead",
            hint=f"restore {base / str(version)} from a backup, or name another version (--to, --version)",
        )
    if trust is not None:
        trust.check(folder, state, version)
    _check_digest(version, folder, state.entries[version], digest)
    if not os.access(base, os.W_OK | os.X_OK):
        raise cannot_rename(base, PermissionError("no permission to write"))


def endpoint_of(state: LedgerState) -> dict[str, Any] | None:
    """Returns the config of the Vertex endpoint that serves the line, as of the newest push, or None."""
    newest = next(reversed(state.entries.values()), None)
    return None if newest is None else newest.pushed.endpoint


def check_no_endpoint(state: LedgerState, what: str) -> None:
    """Checks that no endpoint serves the live version, which would go on serving it.

    Raises:
        ReleaseError: one does.
    """
    endpoint = endpoint_of(state)
    if endpoint is not None:
        raise ReleaseError(
            f"{what} must be of a line that is served from its base path. Got version {state.live} instead, which the "
            f"Vertex endpoint {endpoint['endpoint']} in {endpoint['project']} serves",
            hint="conveyor rollback LINE --to VERSION moves the whole endpoint to another version",
        )


def record(book: Ledger, base: Path, kind: Kind, version: int, entry: Entry, **more: Any) -> LedgerState:
    """Appends an event about a version and lets the folders follow; the caller holds the ledger's lock.

    Raises:
        ReleaseError: the event contradicts the ledger, or the folders cannot be renamed.
    """
    event = LedgerEvent(
        event=kind,
        version=version,
        run_id=entry.pushed.run_id,
        model_digest=entry.pushed.model_digest,
        verdict=entry.pushed.verdict,
        who=os_user(),
        when=utc_now(),
        model_uri=entry.pushed.model_uri,
        **more,
    )
    state = book.append(event)
    try:
        reconcile(base, state)
    except OSError as error:
        raise cannot_rename(base, error, recorded=kind) from None
    return state


def cannot_rename(base: Path, error: OSError, *, recorded: Kind | None = None) -> ReleaseError:
    """Returns the error for folders that cannot be renamed."""
    what = f"the {recorded} is recorded but not carried out: " if recorded else ""
    return ReleaseError(
        f"{base}: {what}its folders must be writable. Got {error} instead",
        hint="give write permission and say the same again, which finishes it",
    )


def _check_digest(version: int, folder: Path, entry: Entry, digest: Digest | None) -> None:
    if digest is None:
        from serving.model_digest import model_digest

        digest = model_digest
    try:
        found = digest(folder)
    except ReleaseError as error:
        raise ReleaseError(
            str(error.args[0]), hint=f"restore {folder}, or name another version (--to, --version)"
        ) from None
    except Exception as error:  # Whatever a damaged SavedModel makes TensorFlow raise, the model cannot go live.
        raise ReleaseError(
            f"{folder}: version {version} must be a readable SavedModel. Got {type(error).__name__} instead: {error}",
            hint=f"restore {folder} from a backup, or name another version (--to, --version)",
        ) from None
    if found != entry.pushed.model_digest:
        raise ReleaseError(
            f"{folder}: version {version} must be the model that was released, digest {entry.pushed.model_digest}. "
            f"Got {found} instead",
            hint=f"somebody changed {folder}: restore it from a backup, or name another version (--to, --version)",
        )
