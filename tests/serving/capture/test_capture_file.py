"""Files of records: names, locks, and whole records whatever happens."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from data.records import read_records
from serving.capture.capture_file import CaptureFile, Recovered, closed_files, open_files, recover
from serving.capture.tfrecord import frame

FOLDER = "2026-09-21/version=7"
FRAMES = [frame(record) for record in (b"one", b"two", b"three")]


def _file(root: Path) -> CaptureFile:
    return CaptureFile(root, FOLDER, "taxi")


def _left_open(root: Path, content: bytes) -> Path:
    """Writes what a killed process leaves, and returns the name that it should get."""
    file = _file(root)
    (path,) = [path for path in open_files(root) if path.stat().st_size == 0]
    os.close(file._descriptor)
    path.write_bytes(content)
    return file.path


def test_a_file_has_its_name_when_it_is_closed(tmp_path: Path) -> None:
    file = _file(tmp_path)
    assert file.write(FRAMES) == (3, None)
    assert file.size == sum(map(len, FRAMES))
    (path,) = open_files(tmp_path)
    assert path.name == f".{file.path.name}.open" and closed_files(tmp_path) == []
    assert not list(tmp_path.glob("*/*/*.tfrecord"))
    file.close()
    assert closed_files(tmp_path) == [file.path] and open_files(tmp_path) == []
    assert list(read_records(file.path)) == [b"one", b"two", b"three"]
    assert file.path.parent == tmp_path / FOLDER and file.path.name.startswith("taxi-")


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    _file(tmp_path).close()
    assert not list(tmp_path.glob("*/*/*"))


def test_names_are_in_the_order_of_time_and_never_the_same(tmp_path: Path) -> None:
    files = [_file(tmp_path) for _ in range(20)]
    for file in files:
        file.write(FRAMES)
        file.close()
    assert closed_files(tmp_path) == [file.path for file in files]


@pytest.mark.parametrize("room", [0, 1, len(FRAMES[0]), len(FRAMES[0]) + 5, sum(map(len, FRAMES)) - 1])
def test_on_a_full_disk_only_whole_records_stay(tmp_path: Path, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path)
    assert file.write([frame(b"zero")]) == (1, None)
    left = room
    write = os.write

    def full(descriptor: int, content: memoryview) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, content[:left])
        left -= written
        return written

    monkeypatch.setattr(os, "write", full)
    written, error = file.write(FRAMES)
    assert error is not None and error.errno == errno.ENOSPC
    assert written == sum(sum(map(len, FRAMES[: i + 1])) <= room for i in range(3))
    monkeypatch.undo()
    assert file.write([frame(b"again")]) == (1, None)
    file.close()
    assert list(read_records(file.path)) == [b"zero", *[b"one", b"two", b"three"][:written], b"again"]


def test_a_torn_end_that_stays_is_cut_off_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path)
    file.write(FRAMES)
    write = os.write

    def failing(descriptor: int, content: memoryview) -> int:
        monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        return write(descriptor, content[:5])

    def no_cut(*_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "write", failing)
    monkeypatch.setattr(os, "ftruncate", no_cut)
    with pytest.raises(OSError, match="broken"):
        file.write(FRAMES)
    assert file.torn
    monkeypatch.undo()
    file.close()
    assert list(read_records(file.path)) == [b"one", b"two", b"three"]


def test_a_file_that_somebody_removed_is_known_as_such(tmp_path: Path) -> None:
    file = _file(tmp_path)
    assert not file.removed
    file.write(FRAMES)
    open_files(tmp_path)[0].unlink()
    assert file.removed
    file.close()
    assert not list(tmp_path.glob("*/*/*"))


@pytest.mark.parametrize("cut", [0, 1, 7, len(FRAMES[2])])
def test_what_a_killed_process_left_is_cut_to_whole_records_and_closed(tmp_path: Path, cut: int) -> None:
    content = b"".join(FRAMES)
    path = _left_open(tmp_path, content[: len(content) - cut])
    kept = 3 if cut == 0 else 2
    whole = sum(map(len, FRAMES[:kept]))
    assert recover(tmp_path) == [Recovered(path, whole, len(content) - cut - whole)]
    assert closed_files(tmp_path) == [path] and open_files(tmp_path) == []
    assert list(read_records(path)) == [b"one", b"two", b"three"][:kept]
    assert recover(tmp_path) == []


def test_of_a_file_without_a_whole_record_nothing_is_left(tmp_path: Path) -> None:
    for content in (b"", b"abc", b"\0" * 100):
        path = _left_open(tmp_path, content)
        assert recover(tmp_path) == [Recovered(path, 0, len(content))]
    assert not list(tmp_path.glob("*/*/*"))


def test_files_that_are_being_written_are_left_alone(tmp_path: Path) -> None:
    file = _file(tmp_path)
    file.write(FRAMES)
    assert recover(tmp_path) == []
    assert file.write(FRAMES) == (3, None)
    file.close()
    assert len(list(read_records(file.path))) == 6


def test_other_files_are_nobodys_business(tmp_path: Path) -> None:
    for name in (
        "notes.txt",
        "version=7/a.tfrecord",
        f"{FOLDER}/notes.txt",
        f"{FOLDER}/deep/a.tfrecord",
        "x/y/a.tfrecord",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    assert closed_files(tmp_path) == [] and open_files(tmp_path) == [] and recover(tmp_path) == []
    assert closed_files(tmp_path / "nowhere") == []


def test_a_new_file_that_somebody_else_locks_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = []
    lock = fcntl.flock

    def once(descriptor: int, operation: int) -> None:
        if not locked:
            locked.append(descriptor)
            raise BlockingIOError
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", once)
    file = _file(tmp_path)
    assert locked and file.write(FRAMES) == (3, None)
    file.close()
    monkeypatch.undo()
    # What was given up is an empty file that nobody writes: the next one to mend takes it away.
    assert [found.bytes_kept for found in recover(tmp_path)] == [0]
    assert closed_files(tmp_path) == [file.path]
