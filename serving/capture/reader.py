"""Reads captured records back, those of files that are still being written too."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from serving import messages
from serving.capture import tfrecord
from serving.capture.capture_file import closed_files, open_files
from serving.capture.log_format import ENTRYPOINTS, Record
from serving.model_server.errors import Code

# File systems take the time of a write from a clock that may lag behind a little.
_CLOCK_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Query:
    """Which records are wanted; all, by default.

    Attributes:
        since: those whose request came at this time or later, seconds since the epoch.
        until: and before this one.
        version: those that this version answered.
        request_id: those with this id.
        caller_key: those with this key of the caller's.
    """

    since: float | None = None
    until: float | None = None
    version: int | None = None
    request_id: str | None = None
    caller_key: str | None = None


@dataclasses.dataclass(frozen=True)
class Captured:
    """A record.

    Attributes:
        record: its bytes, a PredictionLog.
        metadata: what is known of it beside request and answer: a `conveyor.capture.LogMetadata`.
        entrypoint: the method; empty for one that is not captured here.
        file: where it is.
    """

    record: bytes = dataclasses.field(repr=False)
    metadata: Any
    entrypoint: str
    file: Path

    @property
    def started(self) -> float:
        """When the request came, seconds since the epoch."""
        return float(self.metadata.capture.started)

    @property
    def version(self) -> int | None:
        """The model version that answered, or None when none did."""
        spec = self.metadata.model_spec
        return int(spec.version.value) if spec.HasField("version") else None

    @property
    def code(self) -> Code:
        """`OK`, or how the request failed."""
        return Code(self.metadata.capture.code)

    @property
    def shadow(self) -> Any:
        """What is known of an answer that the caller never got, a `conveyor.capture.Shadow`; None for one it got."""
        capture = self.metadata.capture
        return capture.shadow if capture.HasField("shadow") else None

    def log(self) -> Any:
        """Returns request and answer, a `serving.messages.PredictionLog`."""
        return messages.PredictionLog.FromString(self.record)


@dataclasses.dataclass(frozen=True)
class DamagedFile:
    """A file in which something is not readable.

    Attributes:
        path: the file.
        offset: where, bytes.
        reason: what is wrong, in words.
    """

    path: Path
    offset: int
    reason: str


class CaptureLog:
    """The captured records of a line.

    Args:
        root: their folder; it need not be there.

    Attributes:
        damaged: places that could not be read so far. The end of a file that is being written is none.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.damaged: list[DamagedFile] = []

    def read(self, query: Query | None = None) -> Iterator[Captured]:
        """Yields the records that are wanted, file by file, the oldest file first."""
        query = query or Query()
        for _, path in self._files(query):
            for captured, _ in self._read(path, query, 0):
                if captured is not None:
                    yield captured

    def with_request_id(self, request_id: str) -> list[Captured]:
        """Returns the records of a request, the caller's own before a shadow's.

        Its id is looked for in the files' bytes, and no other record is read.

        Args:
            request_id: the id.
        """
        query = Query(request_id=request_id)
        found = []
        for _, path in self._files(query) if request_id else ():
            for captured, _ in self._read(path, query, None):
                if captured is not None:
                    found.append(captured)
        return sorted(found, key=lambda captured: (captured.shadow is not None, captured.started))

    def count_by_day(self, version: int) -> dict[str, int]:
        """Returns how many requests of callers a version answered on each day (UTC), without reading them."""
        counts: dict[str, int] = {}
        for _, path in self._files(Query(version=version)):
            if path.parent.name.startswith("shadow-"):
                continue
            day = path.parent.parent.name
            # A file that is closed meanwhile has another name, and is not counted.
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                counts[day] = counts.get(day, 0) + tfrecord.count(file)
        return dict(sorted(counts.items()))

    def newest(self, query: Query | None = None, limit: int | None = None) -> list[Captured]:
        """Returns the newest records that are wanted, the oldest of them first.

        Args:
            query: which are wanted.
            limit: how many at most, or None.
        """
        query = query or Query()
        if limit is None:
            return sorted(self.read(query), key=lambda captured: captured.started)
        found: list[tuple[float, str, int, Captured]] = []
        for written, path in sorted(self._files(query), reverse=True):
            # All that is in a file came before the file was written last.
            if len(found) == limit and (not limit or written + _CLOCK_SECONDS < found[0][0]):
                break
            for captured, end in self._read(path, query, 0):
                if captured is None:
                    continue
                entry = (captured.started, path.name.lstrip("."), end, captured)
                if len(found) < limit:
                    heapq.heappush(found, entry)
                elif found and entry > found[0]:
                    heapq.heapreplace(found, entry)
        return [captured for *_, captured in sorted(found)]

    def follow(
        self, query: Query, *, poll_seconds: float = 0.5, wait: Callable[[float], object] = time.sleep
    ) -> Iterator[Captured]:
        """Yields the records that are wanted, and then those that come, for ever.

        Args:
            query: which are wanted.
            poll_seconds: how often it looks for more.
            wait: waits for so many seconds; whatever it raises ends the reading.
        """
        # By inode: a file has another name when it is closed.
        offsets: dict[tuple[int, int], int] = {}
        while True:
            for _, path in self._files(query):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                key = (status.st_dev, status.st_ino)
                for captured, end in self._read(path, query, offsets.get(key, 0)):
                    offsets[key] = end
                    if captured is not None:
                        yield captured
            wait(poll_seconds)

    def _files(self, query: Query) -> list[tuple[float, Path]]:
        """Returns the files that may have wanted records, with the times when they were written last."""
        found = []
        # The open ones first: one that is closed meanwhile is then found twice rather than never.
        for path in (*open_files(self._root), *closed_files(self._root)):
            if not _folder_fits(path.parent, query):
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if query.since is None or status.st_mtime + _CLOCK_SECONDS >= query.since:
                found.append((path.name.lstrip("."), status.st_ino, status.st_mtime, path))
        unique = {inode: (name, written, path) for name, inode, written, path in found}
        return [(written, path) for name, written, path in sorted(unique.values())]

    def _read(self, path: Path, query: Query, start: int | None) -> Iterator[tuple[Captured | None, int]]:
        """Yields a file's records, None for those that are not wanted, each with the offset after it.

        Without `start`, those with the query's request id alone.
        """
        needles = [text.encode() for text in (query.request_id, query.caller_key) if text]
        try:
            file = open(path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            closed = path.with_name(path.name.lstrip(".").removesuffix(".open"))
            if closed != path:
                yield from self._read(closed, query, start)
            return
        with file:
            found = tfrecord.search(file, needles[0]) if start is None else tfrecord.read(file, start)
            for record, end in found:
                if isinstance(record, tfrecord.Damage):
                    if not (record.at_end and path.name.startswith(".")):
                        self._note(DamagedFile(path, record.offset, record.reason))
                    if end > record.offset:
                        yield None, end
                    continue
                wanted = all(needle in record for needle in needles)
                yield self._captured(path, record, end, query) if wanted else None, end

    def _captured(self, path: Path, record: bytes, end: int, query: Query) -> Captured | None:
        try:
            parsed = Record.FromString(record)
        except DecodeError:
            self._note(DamagedFile(path, end - tfrecord.FRAME_BYTES - len(record), "a record is no PredictionLog"))
            return None
        entrypoint = ENTRYPOINTS.get(parsed.WhichOneof("log_type") or "", "")
        captured = Captured(record, parsed.log_metadata, entrypoint, path)
        return captured if _fits(captured, query) else None

    def _note(self, damage: DamagedFile) -> None:
        if damage not in self.damaged:
            self.damaged.append(damage)


def _folder_fits(folder: Path, query: Query) -> bool:
    version = folder.name.partition("=")[2]
    if query.version is not None and version != str(query.version):
        return False
    date = folder.parent.name
    if query.since is not None and date < _date(query.since):
        return False
    return query.until is None or date <= _date(query.until)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()


def _fits(captured: Captured, query: Query) -> bool:
    capture = captured.metadata.capture
    return (
        (query.since is None or capture.started >= query.since)
        and (query.until is None or capture.started < query.until)
        and (query.version is None or captured.version == query.version)
        and (query.request_id is None or capture.request_id == query.request_id)
        and (query.caller_key is None or capture.caller_key == query.caller_key)
    )
