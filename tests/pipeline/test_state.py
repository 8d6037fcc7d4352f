"""Where state lies, and the lock on a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.state import State, write_json
from schema.errors import ConfigError, LineBusy


def test_state_is_under_conveyor_home_or_here(tmp_path: Path) -> None:
    assert State.locate("taxi", {"CONVEYOR_HOME": str(tmp_path / "x")}, tmp_path).root == tmp_path / "x" / "taxi"
    assert State.locate("taxi", {}, tmp_path).root == tmp_path / ".conveyor" / "taxi"


def test_state_in_a_bucket_is_where_it_is_mounted(tmp_path: Path) -> None:
    env = {"CONVEYOR_HOME": "gs://bucket/state", "CONVEYOR_GCS_MOUNT": str(tmp_path)}
    with pytest.raises(ConfigError, match=f"CONVEYOR_HOME must be in a bucket that is mounted at {tmp_path}/bucket"):
        State.locate("taxi", env, tmp_path)
    (tmp_path / "bucket").mkdir()
    assert State.locate("taxi", env, tmp_path).root == tmp_path / "bucket" / "state" / "taxi"
    other = {"CONVEYOR_HOME": "s3://bucket/state", "CONVEYOR_S3_MOUNT": str(tmp_path)}
    assert State.locate("taxi", other, tmp_path).root == tmp_path / "bucket" / "state" / "taxi"


def test_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    state = State(tmp_path, "taxi")
    with state.locked(), pytest.raises(LineBusy, match=rf"pid {os.getpid()}"), State(tmp_path, "taxi").locked():
        pass
    with state.locked():
        pass


def test_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.state import State\n"
        "with State(Path(sys.argv[1]), 'taxi').locked():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False)
    assert killed.returncode == -9
    assert (tmp_path / "lock.json").exists()
    with State(tmp_path, "taxi").locked():
        assert json.loads((tmp_path / "lock.json").read_text()) == {"pid": os.getpid()}


def test_write_json_leaves_the_old_file_when_it_cannot_finish(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
