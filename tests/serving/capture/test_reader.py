"""Reading back: what is asked for, from files in any state."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from schema.serving import CaptureConfig
from serving.capture.capture_file import CaptureFile, closed_files, open_files
from serving.capture.hook import CaptureHook
from serving.capture.reader import CaptureLog, DamagedFile, Query
from serving.capture.tfrecord import frame
from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange
from tests.serving.capture.exchanges import NOON, exchange

DAY = 86400.0


def _capture(root: Path, exchanges: Sequence[Exchange], **config: Any) -> None:
    with CaptureHook(root, "taxi", CaptureConfig(**config)) as hook:
        for one in exchanges:
            hook.done(one)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten requests on the day before, the first of which failed; ten at noon by two versions."""
    _capture(
        tmp_path,
        [
            exchange(0, started=NOON - DAY, version=None, code=Code.NOT_FOUND, message="no", response=b""),
            *[exchange(n, started=NOON - DAY + n, version=6) for n in range(1, 10)],
            *[exchange(n, started=NOON + n, version=6 + n % 2, caller_key=f"key-{n % 3}") for n in range(10, 20)],
        ],
    )
    return tmp_path


def _numbers(found: Any) -> list[int]:
    return [int(captured.metadata.capture.request_id[3:]) for captured in found]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (Query(), range(20)),
        (Query(since=NOON), range(10, 20)),
        (Query(since=NOON + 12), range(12, 20)),
        (Query(until=NOON + 12), range(12)),
        (Query(since=NOON - DAY + 3, until=NOON + 12), range(3, 12)),
        (Query(version=7), range(11, 20, 2)),
        (Query(version=9), ()),
        (Query(request_id="id-000013"), [13]),
        (Query(request_id="id-00001"), ()),
        (Query(request_id="taxi"), ()),
        (Query(caller_key="key-1"), [10, 13, 16, 19]),
        (Query(caller_key="key-1", version=7, since=NOON + 14), [19]),
        (Query(since=NOON + DAY), ()),
        (Query(until=NOON - 2 * DAY), ()),
    ],
)
def test_what_is_asked_for(root: Path, query: Query, wanted: Sequence[int]) -> None:
    log = CaptureLog(root)
    assert sorted(_numbers(log.read(query))) == list(wanted)
    assert _numbers(log.newest(query)) == list(wanted)
    for limit in (1, 3, 100):
        assert _numbers(log.newest(query, limit)) == list(wanted)[-limit:]
    assert log.newest(query, 0) == []
    assert log.damaged == []


def test_what_a_record_says(root: Path) -> None:
    captured = CaptureLog(root).newest(Query(request_id="id-000013"))[0]
    assert (captured.started, captured.version, captured.code) == (NOON + 13, 7, Code.OK)
    assert (captured.entrypoint, captured.shadow) == ("Predict", None)
    assert captured.log().predict_log.request.inputs["fare"].float_val == [13.0]
    assert captured.file in closed_files(root)
    (failed,) = CaptureLog(root).newest(Query(request_id="id-000000"))
    assert (failed.version, failed.code, failed.metadata.capture.message) == (None, Code.NOT_FOUND, "no")


def test_files_that_were_written_before_are_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in closed_files(root):
        os.utime(path, (NOON + 5,) * 2)
    opened = []
    read = CaptureLog._read

    def noting(self: CaptureLog, path: Path, *args: Any) -> Any:
        opened.append(path)
        return read(self, path, *args)

    monkeypatch.setattr(CaptureLog, "_read", noting)
    assert list(CaptureLog(root).read(Query(since=NOON + 8))) == []
    assert list(CaptureLog(root).read(Query(since=NOON, version=8))) == []
    assert opened == []
    assert len(list(CaptureLog(root).read(Query(version=6)))) == 14 and len(opened) == 2


def test_the_newest_need_not_be_looked_for_in_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _capture(tmp_path, [exchange(n) for n in range(400)], max_file_bytes=1024)
    for number, path in enumerate(closed_files(tmp_path)):
        os.utime(path, (NOON - 1000 + 100 * number,) * 2)
    opened = []
    monkeypatch.setattr("builtins.open", lambda path, mode, o=open: opened.append(path) or o(path, mode))
    assert _numbers(CaptureLog(tmp_path).newest(limit=5)) == list(range(395, 400))
    monkeypatch.undo()
    assert len(closed_files(tmp_path)) > 2 and len(opened) <= 2


def test_a_damaged_file_is_named_and_the_rest_is_read(root: Path) -> None:
    path = closed_files(root)[0]
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    log = CaptureLog(root)
    assert len(list(log.read())) == 19
    assert log.damaged == [DamagedFile(path, 0, "a record does not fit its checksum")]
    list(log.read())
    assert len(log.damaged) == 1
    content[0] ^= 1
    path.write_bytes(content)
    log = CaptureLog(root)
    list(log.read())
    assert log.damaged == [DamagedFile(path, 0, "the length of a record does not fit its checksum")]


def test_a_closed_file_that_is_cut_short_is_damaged(root: Path) -> None:
    path = closed_files(root)[0]
    path.write_bytes(path.read_bytes()[:-1])
    log = CaptureLog(root)
    assert len(list(log.read())) == 19
    assert [damage.path for damage in log.damaged] == [path]


def test_a_record_that_is_no_log_is_damage(root: Path) -> None:
    path = closed_files(root)[0]
    path.write_bytes(frame(b"\xff\xff") + path.read_bytes())
    log = CaptureLog(root)
    assert len(list(log.read())) == 20
    assert log.damaged == [DamagedFile(path, 0, "a record is no PredictionLog")]


def test_the_torn_end_of_an_open_file_is_no_damage(root: Path) -> None:
    path = closed_files(root)[0]
    left = path.with_name(f".{path.name}.open")
    left.write_bytes(path.read_bytes() + b"torn")
    path.unlink()
    log = CaptureLog(root)
    assert len(list(log.read())) == 20 and log.damaged == []


def test_a_folder_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    log = CaptureLog(tmp_path / "nowhere")
    assert list(log.read()) == [] and log.newest(limit=3) == []


class Stop(Exception):
    """Ends the following."""


def test_following_sees_each_record_once_whatever_becomes_of_its_file(tmp_path: Path) -> None:
    _, framed = _framed(1)
    file = CaptureFile(tmp_path, "2026-09-21/version=7", "taxi")

    def steps() -> Iterator[None]:
        yield None
        file.write([_framed(1)[1]])
        yield None
        file.write([_framed(2)[1], _framed(3)[1]])
        # A record that is half there is not there yet.
        os.write(file._descriptor, _framed(4)[1][:50])
        yield None
        os.write(file._descriptor, _framed(4)[1][50:])
        file.close()
        yield None
        _capture(tmp_path, [exchange(0), exchange(5)])
        yield None
        yield None

    script = steps()
    next(script)

    def wait(seconds: float) -> None:
        try:
            next(script)
        except StopIteration:
            raise Stop from None

    log = CaptureLog(tmp_path)
    found = []
    with pytest.raises(Stop):
        for captured in log.follow(Query(since=NOON + 0.001), wait=wait):
            found.append(captured)
    assert _numbers(found) == [1, 2, 3, 4, 5]
    assert log.damaged == []


def _framed(number: int) -> tuple[str, bytes]:
    from serving.capture.record import RecordMaker
    from serving.capture.rest_messages import RestMessages

    return RecordMaker("taxi", 1.0, None, RestMessages(None), lambda: None).make(exchange(number))


def test_a_file_that_is_closed_between_looking_and_reading_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CaptureFile(tmp_path, "2026-09-21/version=7", "taxi")
    file.write([_framed(1)[1]])
    files = CaptureLog._files

    def closing(self: CaptureLog, query: Query) -> Any:
        found = files(self, query)
        if open_files(tmp_path):
            file.close()
        return found

    monkeypatch.setattr(CaptureLog, "_files", closing)
    assert _numbers(CaptureLog(tmp_path).read()) == [1]
