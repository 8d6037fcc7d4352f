"""Which version answers a request that names none: the canary its share, the live version the rest."""

from __future__ import annotations

import dataclasses
import hashlib

from serving.ledger_events import LedgerState

STABLE, CANARY = "stable", "canary"


@dataclasses.dataclass(frozen=True)
class Split:
    """How requests are split over the versions of a line.

    Attributes:
        line: the line's name, which is the model's.
        stable: the live version, or None when nothing was pushed yet.
        canary: the version on trial, or None.
        share: the canary's share of requests, from 0 to 1.
        shadow: the version that gets copies, or None.
        shadow_share: the share of requests that are copied, from 0 to 1.
    """

    line: str
    stable: int | None = None
    canary: int | None = None
    share: float = 0.0
    shadow: int | None = None
    shadow_share: float = 0.0

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that a server must have loaded, in order."""
        return tuple(sorted({v for v in (self.stable, self.canary, self.shadow) if v is not None}))

    @property
    def labels(self) -> dict[str, int]:
        """Version labels, `stable` and `canary`, of the versions that answer requests."""
        named = {STABLE: self.stable, CANARY: self.canary}
        return {label: version for label, version in named.items() if version is not None}

    def version_for(self, caller_key: str, request_id: str) -> int | None:
        """Returns the version to answer a request.

        Requests with the same caller key go to the same version for as long as the share does not change; as it
        grows, a caller moves to the canary once and stays there.

        Args:
            caller_key: the caller's key, or empty for a request of nobody's.
            request_id: what stands in for the key then.
        """
        if self.canary is not None and position(self.line, "canary", caller_key or request_id) < self.share:
            return self.canary
        return self.stable

    def is_shadowed(self, request_id: str) -> bool:
        """Returns whether a request is copied to the shadow."""
        return self.shadow is not None and position(self.line, "shadow", request_id) < self.shadow_share


def split_of(line: str, state: LedgerState) -> Split:
    """Returns the split that a ledger asks for.

    Args:
        line: the line's name.
        state: what the ledger says.
    """
    split = Split(line, state.live)
    if state.canary is not None:
        split = dataclasses.replace(split, canary=state.canary.version, share=state.canary.share)
    if state.shadow is not None:
        split = dataclasses.replace(split, shadow=state.shadow.version, shadow_share=state.shadow.share)
    return split


def position(line: str, purpose: str, key: str) -> float:
    """Returns where a key stands between 0 and 1: evenly spread, and the same on every server.

    Args:
        line: the line's name, so that a caller is not the canary's in every line.
        purpose: what is drawn for, likewise.
        key: the key.
    """
    digest = hashlib.sha256(f"{line}\0{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
