"""The release ledger: which model versions were released, by whom, and which one is live.

A file of JSON lines that is only ever appended to. What is true now follows from replaying it from the start, so
that it can be read by eye, backed up by copying and never disagrees with its own history. A line counts once its
newline is on disk: what a killed process left behind without one is reported, and never read as truth.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import filelock

from schema.errors import ReleaseError
from serving.ledger_events import LedgerEvent, LedgerState, apply, parse, replay

LOCK_SECONDS = 600.0


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
