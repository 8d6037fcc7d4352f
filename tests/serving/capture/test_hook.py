"""The hook as a server calls it: everything is kept, nothing waits, and what is lost is counted."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from schema.serving import CaptureConfig
from serving.capture import writer as writer_module
from serving.capture.capture_file import closed_files, open_files
from serving.capture.hook import CaptureHook, is_sampled
from serving.capture.reader import CaptureLog, Query
from serving.model_server.hooks import Hooks, ModelSpecQuery
from tests.serving.capture.exchanges import DATE, exchange, fill, rest_exchange
from tests.serving.model_server.eventually import eventually


def _hook(root: Path, registry: CollectorRegistry | None = None, find: Any = None, **config: Any) -> CaptureHook:
    return CaptureHook(root, "taxi", CaptureConfig(**config), find_signatures=find, registry=registry)


def _ids(root: Path, query: Query | None = None) -> list[str]:
    log = CaptureLog(root)
    ids = [captured.metadata.capture.request_id for captured in log.read(query)]
    assert log.damaged == []
    return ids


def _numbers(count: int, first: int = 0) -> list[str]:
    return [f"id-{number:06d}" for number in range(first, first + count)]


def test_it_is_what_a_server_calls(tmp_path: Path) -> None:
    hook: Hooks = _hook(tmp_path)
    query = ModelSpecQuery("taxi", label="stable")
    assert hook.route(query, "key", "id") is query


def test_everything_is_kept_in_order(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with _hook(tmp_path, registry) as hook:
        fill(hook, 1000)
    assert _ids(tmp_path) == _numbers(1000)
    (path,) = closed_files(tmp_path)
    assert path.parent == tmp_path / DATE / "version=7" and open_files(tmp_path) == []
    assert hook.dropped == {}

    def metric(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"conveyor_capture_{name}", {"line": "taxi", **labels})

    assert metric("records_total") == 1000
    assert metric("bytes_total") == path.stat().st_size
    assert metric("files_total") == 1
    assert metric("queue_records") == 0
    assert metric("last_write_timestamp_seconds") == pytest.approx(path.stat().st_mtime, abs=60)
    assert metric("dropped_total", reason="queue_full") == 0


def test_records_can_be_read_before_their_file_is_closed(tmp_path: Path) -> None:
    with _hook(tmp_path) as hook:
        fill(hook, 10)
        eventually(lambda: _ids(tmp_path) == _numbers(10))
        assert closed_files(tmp_path) == []
        fill(hook, 10, first=10)
        eventually(lambda: _ids(tmp_path) == _numbers(20))
        assert len(open_files(tmp_path)) == 1


def test_from_many_threads_none_is_lost(tmp_path: Path) -> None:
    with _hook(tmp_path, queue_records=100_000) as hook:
        threads = [threading.Thread(target=fill, args=(hook, 500, 500 * i)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(_ids(tmp_path)) == _numbers(4000)


def test_a_file_is_closed_at_its_size_and_the_next_one_begun(tmp_path: Path) -> None:
    with _hook(tmp_path, max_file_bytes=20_000) as hook:
        fill(hook, 1000)
    files = closed_files(tmp_path)
    assert len(files) > 3
    assert all(path.stat().st_size >= 20_000 for path in files[:-1])
    assert _ids(tmp_path) == _numbers(1000)


def test_and_at_its_age(tmp_path: Path) -> None:
    with _hook(tmp_path, max_file_seconds=0.05) as hook:
        fill(hook, 10)
        eventually(lambda: len(closed_files(tmp_path)) == 1)
        fill(hook, 10, first=10)
        eventually(lambda: len(closed_files(tmp_path)) == 2)
    assert _ids(tmp_path) == _numbers(20)


def test_versions_and_dates_have_folders_of_their_own(tmp_path: Path) -> None:
    with _hook(tmp_path) as hook:
        for number, version in enumerate([7, 8, None, 7, 8]):
            hook.done(exchange(number, version=version))
        hook.done(exchange(5, started=86400.0))
    folders = [str(path.parent.relative_to(tmp_path)) for path in closed_files(tmp_path)]
    wanted = [f"{DATE}/version=7", f"{DATE}/version=8", f"{DATE}/version=none", "1970-01-02/version=7"]
    assert sorted(folders) == sorted(wanted)


def test_a_share_is_kept_by_request_id(tmp_path: Path) -> None:
    with _hook(tmp_path, sampling_rate=0.25) as hook:
        fill(hook, 1000)
    kept = [request_id for request_id in _numbers(1000) if is_sampled(request_id, 0.25)]
    assert _ids(tmp_path) == kept and 200 < len(kept) < 300
    (captured, *_) = CaptureLog(tmp_path).read()
    assert captured.metadata.sampling_config.sampling_rate == 0.25


@pytest.fixture
def stuck() -> Iterator[tuple[threading.Event, Any]]:
    """A search for signatures that keeps the writer waiting until the event is set."""
    go_on = threading.Event()

    def find(model: str, version: int) -> Any:
        go_on.wait(60)
        raise LookupError

    yield go_on, find
    go_on.set()


def test_while_nothing_can_be_written_requests_go_on_and_are_counted(
    tmp_path: Path, stuck: tuple[threading.Event, Any], caplog: pytest.LogCaptureFixture
) -> None:
    go_on, find = stuck
    registry = CollectorRegistry()
    with _hook(tmp_path, registry, find, queue_records=100) as hook:
        hook.done(rest_exchange({"instances": [1]}, {"predictions": [1]}, request_id="first"))
        eventually(lambda: registry.get_sample_value("conveyor_capture_queue_records", {"line": "taxi"}) == 0)
        with caplog.at_level(logging.WARNING):
            fill(hook, 150)
            assert hook.dropped == {"queue_full": 50}
            assert registry.get_sample_value("conveyor_capture_queue_records", {"line": "taxi"}) == 100
            go_on.set()
            eventually(lambda: _ids(tmp_path) == ["first", *_numbers(100)])
            fill(hook, 50, first=1000)
            eventually(lambda: len(_ids(tmp_path)) == 151)
    dropped = registry.get_sample_value("conveyor_capture_dropped_total", {"line": "taxi", "reason": "queue_full"})
    assert dropped == 50
    assert "50 requests were answered but not kept (queue full)" in caplog.text


def test_large_requests_are_bounded_by_their_bytes(tmp_path: Path, stuck: tuple[threading.Event, Any]) -> None:
    go_on, find = stuck
    size = writer_module._MAX_LARGE_BYTES // 4
    large = {"model": "m", "request": b"\x0a\x00", "response": b"\0" * size, "code": 3}
    with _hook(tmp_path, find=find) as hook:
        hook.done(rest_exchange({"instances": [1]}, {"predictions": [1]}, request_id="first"))
        for number in range(6):
            hook.done(exchange(number, **large))
        assert hook.dropped.get("queue_full", 0) in (2, 3)
        fill(hook, 10, first=10)
        go_on.set()
        eventually(lambda: len(_ids(tmp_path)) >= 14)
        hook.done(exchange(99, **{**large, "response": b"\0" * size * 5}))
    assert "id-000099" in _ids(tmp_path)


def test_what_cannot_be_made_a_record_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), _hook(tmp_path) as hook:
        fill(hook, 5)
        hook.done(exchange(5, started="SECRET"))
        hook.done(exchange(6, entrypoint="SECRET"))
        fill(hook, 5, first=7)
    assert _ids(tmp_path) == [*_numbers(5), *_numbers(5, first=7)]
    assert hook.dropped == {"error": 2}
    assert "2 requests were answered but not kept (error: " in caplog.text
    assert "SECRET" not in caplog.text


def test_after_the_end_nothing_is_taken(tmp_path: Path) -> None:
    with _hook(tmp_path) as hook:
        fill(hook, 5)
    fill(hook, 5)
    assert hook.dropped == {"stopped": 5}
    assert _ids(tmp_path) == _numbers(5)


def test_what_comes_just_before_the_end_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = _hook(tmp_path)
    writer = hook._writer
    empty_queue = writer._empty_queue

    def with_a_late_one() -> None:
        empty_queue()
        if not writer._stopping:
            hook.done(exchange(0))
            writer._stopping = True

    monkeypatch.setattr(writer, "_empty_queue", with_a_late_one)
    hook.start()
    writer._thread.join(60)
    assert hook.stop()
    assert _ids(tmp_path) == _numbers(1)


def test_what_comes_at_the_very_end_is_counted(tmp_path: Path) -> None:
    hook = _hook(tmp_path)
    with hook:
        pass
    # It found the writer at work, and was late all the same.
    hook._writer._queue.append(exchange(0))
    assert hook.stop()
    assert hook.dropped == {"stopped": 1}


def test_an_end_that_takes_too_long_is_given_up(tmp_path: Path, stuck: tuple[threading.Event, Any]) -> None:
    _, find = stuck
    hook = _hook(tmp_path, find=find)
    hook.start()
    hook.done(rest_exchange({"instances": [1]}, {"predictions": [1]}))
    assert hook.stop(seconds=0.3) is False


def test_what_never_began_can_be_ended(tmp_path: Path) -> None:
    hook = _hook(tmp_path)
    assert hook.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "capture"
    with _hook(root) as hook:
        fill(hook, 5)
        eventually(lambda: len(_ids(root)) == 5)
        shutil.rmtree(root)
        fill(hook, 5, first=5)
        eventually(lambda: _ids(root) == _numbers(5, first=5))
    assert hook.dropped == {}


def test_a_folder_that_cannot_be_made_costs_records_until_it_can(tmp_path: Path) -> None:
    root = tmp_path / "capture"
    root.write_text("in the way")
    with _hook(root) as hook:
        fill(hook, 5)
        eventually(lambda: hook.dropped == {"disk": 5})
        root.unlink()
        fill(hook, 5, first=5)
    assert _ids(root) == _numbers(5, first=5)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_costs_records_and_nothing_else(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = small_disk / "capture"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 100_000)
    with caplog.at_level(logging.WARNING), _hook(root) as hook:
        fill(hook, 3000)
        eventually(lambda: len(_ids(root)) + hook.dropped.get("disk", 0) == 3000)
        assert hook.dropped["disk"] > 0
        before = _ids(root)
        assert before == _numbers(len(before)) and len(before) > 100
        ballast.unlink()
        fill(hook, 10, first=5000)
        eventually(lambda: _ids(root)[len(before) :] == _numbers(10, first=5000))
    assert "No space left on device" in caplog.text
    assert _ids(root) == [*before, *_numbers(10, first=5000)] and open_files(root) == []


def test_what_a_killed_process_left_is_mended_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with _hook(tmp_path) as hook:
        fill(hook, 10)
    (path,) = closed_files(tmp_path)
    left = path.with_name(f".{path.name}.open")
    os.rename(path, left)
    with open(left, "ab") as file:
        file.write(b"torn")
    with caplog.at_level(logging.WARNING), _hook(tmp_path):
        eventually(lambda: closed_files(tmp_path) == [path])
    assert _ids(tmp_path) == _numbers(10)
    assert f"{path} was left open by a killed process" in caplog.text and "cut off 4" in caplog.text


def test_two_processes_keep_theirs_in_one_folder(tmp_path: Path) -> None:
    with _hook(tmp_path) as one, _hook(tmp_path) as other:
        fill(one, 100)
        fill(other, 100, first=100)
        eventually(lambda: len(open_files(tmp_path)) == 2)
        with _hook(tmp_path):
            fill(one, 100, first=200)
    assert sorted(_ids(tmp_path)) == _numbers(300)


def test_old_files_are_removed_as_new_ones_are_closed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with _hook(tmp_path, registry, max_file_bytes=10_000, retention_bytes=30_000) as hook:
        fill(hook, 2000)
    kept = _ids(tmp_path)
    assert kept == _numbers(len(kept), first=2000 - len(kept)) and kept
    assert sum(path.stat().st_size for path in closed_files(tmp_path)) <= 30_000
    removed = registry.get_sample_value("conveyor_capture_removed_bytes_total", {"line": "taxi"})
    written = registry.get_sample_value("conveyor_capture_bytes_total", {"line": "taxi"})
    assert removed is not None and written is not None
    assert written - removed == sum(path.stat().st_size for path in closed_files(tmp_path))
