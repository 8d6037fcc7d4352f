"""Versions on trial: a canary answers a share of the requests, a shadow gets copies whose answers nobody is given."""

from __future__ import annotations

from pathlib import Path

from schema.errors import ReleaseError
from serving.base_path import VersionFolders, reconcile, scan
from serving.ledger import Ledger
from serving.ledger_events import LedgerState
from serving.release_change import (
    Digest,
    cannot_rename,
    check_no_endpoint,
    check_servable,
    record,
    released,
    versions_text,
)
from serving.releases import Release, release_of
from serving.signing.trust import Trust


def canary(
    ledger: Ledger | str | Path,
    base_path: str | Path,
    version: int,
    share: float,
    *,
    reason: str | None = None,
    digest: Digest | None = None,
    trust: Trust | None = None,
) -> Release:
    """Gives a version a share of the requests; the live version answers the others.

    When the version is the live one itself, the version before it becomes live again for the others.

    Args:
        ledger: the release ledger, or its path.
        base_path: the model base path.
        version: the version to try.
        share: its share of requests, above 0 and at most 1.
        reason: why, in words.
        digest: gives a SavedModel folder's model digest; by default `serving.model_digest.model_digest`.
        trust: whose signature the version must have, or None where it needs none.

    Returns:
        The canary.

    Raises:
        ReleaseError: the share is none, the version cannot be served, or there is no other one for the rest.
    """
    _check_share(share)
    book, base = _book(ledger), Path(base_path)
    with book.locked():
        state, folders = _settled(book, base)
        check_no_endpoint(state, "a canary")
        entry = released(version, state)
        stable = state.previous if version == state.live else state.live
        if stable is None:
            raise ReleaseError(
                f"a canary needs another version for the other requests. Got version {version} alone "
                f"(released so far: {versions_text(state)})",
                hint="push another version first",
            )
        check_servable(version, base, folders, state, digest, trust)
        if version == state.live:
            check_servable(stable, base, folders, state, digest, trust)
        state = record(book, base, "canary", version, entry, from_version=stable, share=share, reason=reason)
        return release_of(version, state, scan(base))


def promote(
    ledger: Ledger | str | Path,
    base_path: str | Path,
    *,
    reason: str | None = None,
    digest: Digest | None = None,
    trust: Trust | None = None,
) -> Release:
    """Makes the canary live for all requests.

    Args:
        ledger: the release ledger, or its path.
        base_path: the model base path.
        reason: why, in words.
        digest: gives a SavedModel folder's model digest; by default `serving.model_digest.model_digest`.
        trust: whose signature the version must have, or None where it needs none.

    Returns:
        The release that is live now.

    Raises:
        ReleaseError: there is no canary, or it cannot be served any more.
    """
    book, base = _book(ledger), Path(base_path)
    with book.locked():
        state, folders = _settled(book, base)
        if state.canary is None:
            raise ReleaseError(
                f"{book.path}: there must be a canary to promote. Got none instead",
                hint="conveyor canary LINE --version VERSION --share 0.1 starts one",
            )
        check_no_endpoint(state, "what is promoted")
        version = state.canary.version
        entry = released(version, state)
        check_servable(version, base, folders, state, digest, trust)
        state = record(book, base, "promoted", version, entry, from_version=state.live, reason=reason)
        return release_of(version, state, scan(base))


def shadow(
    ledger: Ledger | str | Path,
    base_path: str | Path,
    version: int,
    share: float = 1.0,
    *,
    reason: str | None = None,
    digest: Digest | None = None,
    trust: Trust | None = None,
) -> Release:
    """Gives a version copies of a share of the requests. Its answers are kept and compared, and nobody gets them.

    Args:
        ledger: the release ledger, or its path.
        base_path: the model base path.
        version: the version to try; neither the live one nor the canary.
        share: the share of requests that are copied, above 0 and at most 1.
        reason: why, in words.
        digest: gives a SavedModel folder's model digest; by default `serving.model_digest.model_digest`.
        trust: whose signature the version must have, or None where it needs none.

    Returns:
        The shadow.

    Raises:
        ReleaseError: the share is none, or the version answers requests already or cannot be served.
    """
    _check_share(share)
    book, base = _book(ledger), Path(base_path)
    with book.locked():
        state, folders = _settled(book, base)
        entry = released(version, state)
        answering = {state.live} | ({state.canary.version} if state.canary else set())
        if version in answering:
            raise ReleaseError(
                f"a shadow must be a version that answers no requests. Got version {version}, which does, instead",
                hint="name another one with --version",
            )
        check_servable(version, base, folders, state, digest, trust)
        state = record(book, base, "shadow", version, entry, share=share, reason=reason)
        return release_of(version, state, scan(base))


def end_shadow(ledger: Ledger | str | Path, base_path: str | Path, *, reason: str | None = None) -> Release:
    """Ends the shadow.

    Args:
        ledger: the release ledger, or its path.
        base_path: the model base path.
        reason: why, in words.

    Returns:
        What the version is now.

    Raises:
        ReleaseError: there is none.
    """
    book, base = _book(ledger), Path(base_path)
    with book.locked():
        state, _ = _settled(book, base)
        if state.shadow is None:
            raise ReleaseError(f"{book.path}: there must be a shadow to end. Got none instead")
        version = state.shadow.version
        state = record(book, base, "shadow_ended", version, state.entries[version], reason=reason)
        return release_of(version, state, scan(base))


def _book(ledger: Ledger | str | Path) -> Ledger:
    return ledger if isinstance(ledger, Ledger) else Ledger(ledger)


def _settled(book: Ledger, base: Path) -> tuple[LedgerState, VersionFolders]:
    """Finishes what a killed change left, and returns what is true then."""
    state = book.state()
    if state.live is None:
        raise ReleaseError(f"{book.path}: nothing was released yet", hint="conveyor run LINE pushes a first model")
    try:
        reconcile(base, state)
    except OSError as error:
        raise cannot_rename(base, error) from None
    return state, scan(base)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ReleaseError(f"share must be above 0 and at most 1. Got {share} instead", hint="e.g. --share 0.1")
