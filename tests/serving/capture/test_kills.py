"""kill -9: at most the records of the last second are lost, and the files stay readable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.records import read_records
from schema.serving import CaptureConfig
from serving.capture.capture_file import closed_files, open_files
from serving.capture.hook import CaptureHook
from serving.capture.reader import CaptureLog
from tests.serving.model_server.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]
SAFE = 2000


@pytest.mark.parametrize("lines", [1, 5, 40])
def test_what_was_captured_a_second_before_is_there(tmp_path: Path, lines: int) -> None:
    """Kills it after so many lines of its output, somewhere in the middle of a burst."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serving.capture.capturing_process", str(tmp_path), str(SAFE)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = [process.stdout.readline() for _ in range(lines)]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert said[0] == f"safe {SAFE}\n"

    def ids() -> list[int]:
        log = CaptureLog(tmp_path)
        found = [int(captured.metadata.capture.request_id[3:]) for captured in log.read()]
        assert log.damaged == []
        return found

    before = ids()
    assert before == list(range(len(before))) and len(before) >= SAFE
    with CaptureHook(tmp_path, "taxi", CaptureConfig()):
        eventually(lambda: open_files(tmp_path) == [])
    assert ids() == before
    # As anybody else reads them: to the last byte.
    assert sum(1 for path in closed_files(tmp_path) for _ in read_records(path)) == len(before)
