"""What the release ledger says: its events, and what is true after them. Pure; `serving.ledger` is the file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from schema.base import Handover, canonical_json
from schema.errors import ReleaseError

Kind = Literal[
    "pushed", "rollback", "pruned", "repaired", "canary", "canary_ended", "promoted", "shadow", "shadow_ended"
]


class LedgerEvent(Handover):
    """One line of the ledger."""

    event: Kind
    """`pushed`: the version is new and live. `rollback`: the version is live again, and every higher one is withdrawn.
    `pruned`: the version's directory was removed. `repaired`: a torn line was dropped from the end of the file.
    `canary`: the version gets a share of the requests, and `from_version` is live for the rest. `canary_ended`: it gets
    none any more. `promoted`: the canary is live for all. `shadow`: the version gets a copy of a share of the requests.
    `shadow_ended`: it gets none any more."""
    version: int | None = Field(default=None, ge=0)
    """The model version, the integer directory that TensorFlow Serving serves."""
    run_id: str | None = None
    """The run that made the model."""
    model_digest: str | None = None
    """The model digest of the version."""
    verdict: str | None = None
    """The verdict of the run that pushed it."""
    who: str
    """User name of whoever did it, according to the operating system."""
    when: str
    """UTC, ISO 8601."""
    reason: str | None = None
    """Why, in words."""
    model_uri: str | None = None
    """URI of the Model artifact in ML Metadata."""
    path: str | None = None
    """Pushed: the version's folder in the base path."""
    from_version: int | None = None
    """Rollback: the version that was served until then. Canary: the version that is live for the other requests."""
    share: float | None = Field(default=None, gt=0, le=1)
    """Canary and shadow: the share of requests."""
    endpoint: dict[str, Any] | None = None
    """Pushed: the Vertex AI endpoint that serves the version, as `pusher.vertex_endpoint` had it."""

    def line(self) -> bytes:
        """Returns the event as a line of the ledger, keys without a value left out, newline included."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True)).encode() + b"\n"


@dataclasses.dataclass
class Entry:
    """A version in the ledger.

    Attributes:
        pushed: the event that released it.
        predecessor: the version that was live until it was pushed, or None.
        withdrawn: a rollback took it out of service.
        pruned: its directory was removed.
        last: the last event that named it.
    """

    pushed: LedgerEvent
    predecessor: int | None
    last: LedgerEvent
    withdrawn: bool = False
    pruned: bool = False


@dataclasses.dataclass(frozen=True)
class TrafficShare:
    """A version that gets requests besides the live one.

    Attributes:
        version: the version.
        share: the share of requests, above 0 and at most 1.
    """

    version: int
    share: float


@dataclasses.dataclass
class LedgerState:
    """What is true after the last event.

    Attributes:
        entries: version to what is known of it, in order of release.
        live: the version that is live, or None when nothing was pushed yet.
        canary: the version that answers a share of the requests in the live one's place, or None.
        shadow: the version that gets copies of requests and whose answers nobody is given, or None.
        torn: bytes of a torn last line that were ignored; empty when the file ends as it should.
    """

    entries: dict[int, Entry] = dataclasses.field(default_factory=dict)
    live: int | None = None
    canary: TrafficShare | None = None
    shadow: TrafficShare | None = None
    torn: bytes = b""

    @property
    def trials(self) -> set[int]:
        """The versions that are on trial, as canary or as shadow."""
        return {share.version for share in (self.canary, self.shadow) if share is not None}

    @property
    def live_entry(self) -> Entry | None:
        """The live version's entry."""
        return None if self.live is None else self.entries[self.live]

    @property
    def previous(self) -> int | None:
        """The version that a rollback goes back to: the nearest predecessor that is neither withdrawn nor pruned."""
        version = self.live
        seen = {version}
        while version is not None:
            version = self.entries[version].predecessor
            if version in seen:
                return None
            seen.add(version)
            if version is not None and not (self.entries[version].withdrawn or self.entries[version].pruned):
                return version
        return None

    def with_digest(self, digest: str) -> list[int]:
        """Returns the versions that hold the model with this digest, the newest last."""
        return [version for version, entry in self.entries.items() if entry.pushed.model_digest == digest]


def apply(state: LedgerState, event: LedgerEvent) -> None:
    """Carries `state` over one event.

    A push makes its version live for all requests, so it ends a canary. Whatever makes a version live withdraws
    those above it, for a TensorFlow Serving that knows nothing of the ledger serves the highest that it sees.

    Raises:
        ReleaseError: the event contradicts what came before.
    """
    if event.event == "repaired":
        return
    if event.version is None:
        raise ReleaseError(f"event {event.event!r} must name a version. Got none instead")
    if event.event == "pushed":
        _pushed(state, event, event.version)
        return
    entry = _entry(state, event, event.version)
    if event.event == "pruned":
        if event.version in state.trials or event.version == state.live:
            raise ReleaseError(f"event 'pruned' must not name version {event.version}, which is live or on trial")
        entry.pruned = True
    elif event.event == "rollback":
        _make_live(state, event, event.version)
    elif event.event == "promoted":
        if state.canary is None or state.canary.version != event.version:
            raise ReleaseError(f"event 'promoted' must name the canary. Got version {event.version} instead")
        stable = state.live
        _make_live(state, event, event.version)
        entry.predecessor = stable
    elif event.event == "canary":
        _canary(state, event, event.version)
    elif event.event == "shadow":
        if event.share is None or event.version in (state.live, state.canary and state.canary.version):
            raise ReleaseError("event 'shadow' must name a share, and a version that answers no requests")
        _end_trial(state, event, state.shadow)
        entry.withdrawn = False
        state.shadow = TrafficShare(event.version, event.share)
    else:
        trial = state.canary if event.event == "canary_ended" else state.shadow
        if trial is None or trial.version != event.version:
            raise ReleaseError(f"event {event.event!r} must name the version on trial. Got {event.version} instead")
        if event.event == "canary_ended":
            state.canary = None
        else:
            state.shadow = None
        _end_trial(state, event, trial)
    entry.last = event


def _pushed(state: LedgerState, event: LedgerEvent, version: int) -> None:
    if event.model_digest is None or event.run_id is None:
        raise ReleaseError("event 'pushed' must name model_digest and run_id. Got none instead")
    if state.entries and version <= max(state.entries):
        raise ReleaseError(f"a pushed version must be above {max(state.entries)}. Got {version} instead")
    state.entries[version] = Entry(event, state.live, event)
    state.live, state.canary = version, None


def _entry(state: LedgerState, event: LedgerEvent, version: int) -> Entry:
    entry = state.entries.get(version)
    if entry is None:
        raise ReleaseError(
            f"event {event.event!r} must name a version that was pushed, one of {sorted(state.entries)}. "
            f"Got {version} instead"
        )
    if entry.pruned:
        raise ReleaseError(f"event {event.event!r} must not name version {version}, which was pruned before")
    return entry


def _make_live(state: LedgerState, event: LedgerEvent, version: int) -> None:
    for other, entry in state.entries.items():
        if other > version and not entry.withdrawn:
            entry.withdrawn = True
            entry.last = event
    state.entries[version].withdrawn = False
    state.live, state.canary = version, None
    if state.shadow is not None and state.shadow.version >= version:
        state.shadow = None


def _canary(state: LedgerState, event: LedgerEvent, version: int) -> None:
    stable = None if event.from_version is None else _entry(state, event, event.from_version)
    if stable is None or stable.withdrawn or event.from_version == version or event.share is None:
        raise ReleaseError("event 'canary' must name a share, and another version in from_version that is in service")
    if state.canary is not None and state.canary.version != version:
        _end_trial(state, event, state.canary)
    state.entries[version].withdrawn = False
    state.live, state.canary = event.from_version, TrafficShare(version, event.share)
    if state.shadow is not None and state.shadow.version in (state.live, version):
        state.shadow = None


def _end_trial(state: LedgerState, event: LedgerEvent, trial: TrafficShare | None) -> None:
    if trial is None or trial.version == event.version and event.event in ("canary", "shadow"):
        return
    if state.live is not None and trial.version > state.live and trial.version not in state.trials - {trial.version}:
        state.entries[trial.version].withdrawn = True
        state.entries[trial.version].last = event


def replay(events: Sequence[LedgerEvent]) -> LedgerState:
    """Returns what is true after `events`.

    Raises:
        ReleaseError: an event contradicts the ones before it.
    """
    state = LedgerState()
    for event in events:
        apply(state, event)
    return state


def parse(content: bytes, name: str = "releases.jsonl") -> tuple[list[LedgerEvent], bytes]:
    """Reads a ledger's bytes.

    Args:
        content: the file's content.
        name: how to call the file in messages.

    Returns:
        The events, and the bytes after the last newline: a torn line, which is not read.

    Raises:
        ReleaseError: a line that ends in a newline is not an event, or contradicts the ones before it.
    """
    *lines, torn = content.split(b"\n")
    state = LedgerState()
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            event = LedgerEvent.model_validate(json.loads(line))
            apply(state, event)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            problem = f"{where}: {first['msg']}" if where else first["msg"]
        except ReleaseError as error:
            problem = str(error)
        except ValueError:
            problem = f"it must be a JSON object. Got {line[:80].decode(errors='replace')!r} instead"
        else:
            events.append(event)
            continue
        raise ReleaseError(
            f"{name}, line {number}: the release ledger is damaged: {problem}",
            hint="put the file back from a backup, or mend that line by hand; nothing is released until then",
        )
    return events, torn
