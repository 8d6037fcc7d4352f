"""Removing the oldest versions from a base path, so that no more of them stay than are to be kept."""

from __future__ import annotations

from pathlib import Path

from serving.base_path import reconcile, scan
from serving.ledger import Ledger, os_user, utc_now
from serving.ledger_events import LedgerEvent, LedgerState


def prune(base_path: Path, ledger: Ledger, state: LedgerState, keep: int | None) -> list[int]:
    """Removes the oldest versions so that `keep` stay, and records it; never the live one nor the one before.

    The record comes first: a pruning that is killed is finished by `serving.base_path.reconcile`.

    Returns:
        The versions removed, lowest first.
    """
    if keep is None:
        return []
    folders = scan(base_path)
    present = [version for version in state.entries if folders.folder(version) and not state.entries[version].pruned]
    kept = {*sorted(present, reverse=True)[:keep], state.live, state.previous, *state.trials}
    doomed = [version for version in present if version not in kept]
    for version in doomed:
        why = f"pusher.keep_versions is {keep}"
        event = LedgerEvent(event="pruned", version=version, who=os_user(), when=utc_now(), reason=why)
        state = ledger.append(event)
    if doomed:
        reconcile(base_path, state)
    return doomed
