"""Which release put a version in front of requests, and since when: the ledger, read for one version and one moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from schema.errors import ReleaseError
from serving.ledger_events import LedgerEvent, LedgerState, apply

Role = Literal["live", "canary", "shadow"]


@dataclasses.dataclass(frozen=True)
class Standing:
    """A time during which a version had one role.

    Attributes:
        version: the version.
        role: `live`, `canary` or `shadow`.
        share: the share of requests, of a canary or a shadow.
        event: the event that gave it the role.
        line: that event's line in the ledger, from 1.
        since: when that was, seconds since the epoch.
        until: when another event ended it, or None while it lasts.
        ended_by: that event, or None.
    """

    version: int
    role: Role
    share: float | None
    event: LedgerEvent
    line: int
    since: float
    until: float | None = None
    ended_by: LedgerEvent | None = None


@dataclasses.dataclass(frozen=True)
class Answering:
    """How a version came to answer a request.

    Attributes:
        standing: the standing that it had.
        late: seconds between the end of that standing and the request. A server follows the ledger within some seconds,
            and a request may name a version that is not live. None when the request came within it.
    """

    standing: Standing
    late: float | None = None


def seconds_of(when: str) -> float:
    """Returns an event's time, seconds since the epoch.

    Raises:
        ReleaseError: it is none.
    """
    try:
        return datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise ReleaseError(
            f"the time of a release must be ISO 8601. Got {when!r} in the release ledger instead",
            hint="mend that line of the ledger by hand",
        ) from None


def standings(events: Iterable[LedgerEvent]) -> list[Standing]:
    """Returns every standing of every version, in order of their beginnings.

    Args:
        events: the events of a ledger, from its first on.

    Raises:
        ReleaseError: an event contradicts the ones before it, or has no time.
    """
    state = LedgerState()
    found: list[Standing] = []
    current: dict[int, int] = {}
    for line, event in enumerate(events, start=1):
        apply(state, event)
        roles = _roles(state)
        when = seconds_of(event.when)
        for version, place in list(current.items()):
            standing = found[place]
            if roles.get(version) != (standing.role, standing.share):
                found[place] = dataclasses.replace(standing, until=when, ended_by=event)
                del current[version]
        for version, (role, share) in sorted(roles.items()):
            if version not in current:
                current[version] = len(found)
                found.append(Standing(version, role, share, event, line, when))
    return found


def _roles(state: LedgerState) -> dict[int, tuple[Role, float | None]]:
    roles: dict[int, tuple[Role, float | None]] = {}
    if state.shadow is not None:
        roles[state.shadow.version] = ("shadow", state.shadow.share)
    if state.canary is not None:
        roles[state.canary.version] = ("canary", state.canary.share)
    if state.live is not None:
        roles[state.live] = ("live", None)
    return roles


def answering(found: Sequence[Standing], version: int, moment: float) -> Answering | None:
    """Returns the standing by which a version answered a request.

    Args:
        found: what `standings` returned.
        version: the version that answered.
        moment: when the request came, seconds since the epoch.

    Returns:
        The standing that lasted then; or else the last one before it, with how long ago it ended; or else the first
        one after it. None when the version never had one.
    """
    own = [standing for standing in found if standing.version == version]
    for standing in own:
        if standing.since <= moment and (standing.until is None or moment < standing.until):
            return Answering(standing)
    before = [standing for standing in own if standing.until is not None and standing.until <= moment]
    if before:
        last = before[-1]
        assert last.until is not None
        return Answering(last, moment - last.until)
    return Answering(own[0], moment - own[0].since) if own else None
