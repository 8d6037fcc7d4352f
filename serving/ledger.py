"""The release ledger: which model versions were released, by whom, and which one is live.

A file of JSON lines that is only ever appended to. What is true now follows from replaying it from the start, so
that it can be read by eye, backed up by copying and never disagrees with its own history. A line counts once its
newline is on disk: what a killed process left behind without one is reported, and never read as truth.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import filelock
from pydantic import Field, ValidationError

from schema.base import Handover, canonical_json
from schema.errors import ReleaseError

Kind = Literal["pushed", "rollback", "pruned", "repaired"]

LOCK_SECONDS = 600.0


class LedgerEvent(Handover):
    """One line of the ledger."""

    event: Kind
    """`pushed`: the version is new and live. `rollback`: the version is live again, and every higher one is withdrawn.
    `pruned`: the version's directory was removed. `repaired`: a torn line was dropped from the end of the file."""
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
    """Rollback: the version that was served until then."""

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


@dataclasses.dataclass
class LedgerState:
    """What is true after the last event.

    Attributes:
        entries: version to what is known of it, in order of release.
        live: the version that is live, or None when nothing was pushed yet.
        torn: bytes of a torn last line that were ignored; empty when the file ends as it should.
    """

    entries: dict[int, Entry] = dataclasses.field(default_factory=dict)
    live: int | None = None
    torn: bytes = b""

    @property
    def live_entry(self) -> Entry | None:
        """The live version's entry."""
        return None if self.live is None else self.entries[self.live]

    @property
    def previous(self) -> int | None:
        """The version that a rollback goes back to: the nearest predecessor that is neither withdrawn nor pruned."""
        version = self.live
        while version is not None:
            version = self.entries[version].predecessor
            if version is not None and not (self.entries[version].withdrawn or self.entries[version].pruned):
                return version
        return None

    def with_digest(self, digest: str) -> list[int]:
        """Returns the versions that hold the model with this digest, the newest last."""
        return [version for version, entry in self.entries.items() if entry.pushed.model_digest == digest]


def apply(state: LedgerState, event: LedgerEvent) -> None:
    """Carries `state` over one event.

    Raises:
        ReleaseError: the event contradicts what came before.
    """
    if event.event == "repaired":
        return
    if event.version is None:
        raise ReleaseError(f"event {event.event!r} must name a version. Got none instead")
    if event.event == "pushed":
        if event.model_digest is None or event.run_id is None:
            raise ReleaseError("event 'pushed' must name model_digest and run_id. Got none instead")
        if state.entries and event.version <= max(state.entries):
            highest = max(state.entries)
            raise ReleaseError(f"a pushed version must be above {highest}. Got {event.version} instead")
        state.entries[event.version] = Entry(event, state.live, event)
        state.live = event.version
        return
    if event.version not in state.entries:
        raise ReleaseError(
            f"event {event.event!r} must name a version that was pushed, one of {sorted(state.entries)}. "
            f"Got {event.version} instead"
        )
    entry = state.entries[event.version]
    if entry.pruned or (event.event == "pruned" and event.version == state.live):
        what = "is live" if event.version == state.live else "was pruned before"
        raise ReleaseError(f"event {event.event!r} must not name version {event.version}, which {what}")
    entry.last = event
    if event.event == "pruned":
        entry.pruned = True
        return
    for version, other in state.entries.items():
        if version > event.version and not other.withdrawn:
            other.withdrawn = True
            other.last = event
    entry.withdrawn = False
    state.live = event.version


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


def os_user() -> str:
    """Returns the user name that the operating system has for this process, or its number where there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def utc_now() -> str:
    """Returns the time now, UTC, ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Ledger:
    """A release ledger on disk.

    Args:
        path: the file; it need not be there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = filelock.FileLock(str(self.path) + ".lock")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes and threads from changing releases; may be entered again by its holder.

        Raises:
            ReleaseError: another process has held it for ten minutes.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=LOCK_SECONDS)
        except filelock.Timeout:
            raise ReleaseError(
                f"{self.path}: another process has been changing releases for {LOCK_SECONDS:.0f} s",
                hint="wait for that push or rollback, or end it; a killed one leaves no lock",
            ) from None
        try:
            yield
        finally:
            self._lock.release()

    def read(self) -> tuple[list[LedgerEvent], bytes]:
        """Returns the events, and the bytes of a torn last line. No file is an empty ledger.

        Raises:
            ReleaseError: the file is damaged, other than by a torn last line.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return [], b""
        return parse(content, str(self.path))

    def state(self) -> LedgerState:
        """Returns what is true now.

        Raises:
            ReleaseError: the file is damaged, other than by a torn last line.
        """
        events, torn = self.read()
        state = replay(events)
        state.torn = torn
        return state

    def append(self, event: LedgerEvent) -> LedgerState:
        """Appends an event and returns what is then true; the event is on disk by then.

        Raises:
            ReleaseError: the event contradicts the ledger (nothing is written then), or the file is damaged.
        """
        with self.locked():
            events, torn = self.read()
            state = replay(events)
            apply(state, event)
            if torn:
                self._drop(torn)
            new = not self.path.exists()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                _write_all(descriptor, event.line())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if new:
                sync_folder(self.path.parent)
        return state

    def _drop(self, torn: bytes) -> None:
        # The bytes were never part of the ledger: no newline, no event. They stay readable in the event that says so.
        text = torn[:2000].decode(errors="backslashreplace")
        event = LedgerEvent(event="repaired", who=os_user(), when=utc_now(), reason=f"dropped a torn line: {text}")
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND)
        try:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - len(torn))
            _write_all(descriptor, event.line())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable, so that a rename in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
