"""Runs lines as a user does, in processes of their own; shared by the end-to-end tests."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from importlib import util
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def taxi_rows() -> list[dict[str, str]]:
    """Returns TFX's taxi trips, from the installed package, without importing it."""
    spec = util.find_spec("tfx")
    assert spec is not None and spec.origin is not None
    table = Path(spec.origin).parent / "examples" / "chicago_taxi_pipeline" / "data" / "simple" / "data.csv"
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes rows with the header of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def merge(base: Any, over: Any) -> Any:
    """Returns `base` with `over` laid over it, mapping by mapping."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: merge(base.get(key), value) for key, value in over.items()}}


@dataclasses.dataclass(frozen=True)
class Workplace:
    """A folder with a line and its state.

    Attributes:
        folder: has `line.yaml`; state goes to `state`.
    """

    folder: Path

    def shipped(self, name: str, **over: Any) -> Workplace:
        """Puts a line that comes with the project here, with keys laid over."""
        config = yaml.safe_load((ROOT / "data" / name / "line.yaml").read_text(encoding="utf-8"))
        file = config.get("schema", {}).get("file")
        if file:
            config["schema"]["file"] = str((ROOT / "data" / name / file).resolve())
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "line.yaml").write_text(yaml.safe_dump(merge(config, over), sort_keys=False), encoding="utf-8")
        return self

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command here."""
        return {**os.environ, "CONVEYOR_HOME": str(self.folder / "state"), "PYTHONPATH": str(ROOT)}

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Starts a conveyor command, with more variables in its environment."""
        return subprocess.Popen(
            [sys.executable, "-m", "conveyor", *args],
            cwd=self.folder,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def conveyor(self, *args: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Runs a conveyor command to its end."""
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def run(self, *args: str, expect: int = 0) -> dict[str, Any]:
        """Runs the line here and returns the run's record."""
        done = self.conveyor("run", str(self.folder), "--json", *args)
        record = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        verdict = json.dumps(record.get("verdict"), indent=2)
        assert done.returncode == expect, f"exit code {done.returncode}\n{verdict}\n{done.stderr[-6000:]}"
        return record

    def kill_itself(self, *args: str, timeout: float = 600, **moment: str) -> None:
        """Runs a conveyor command that kills itself at a moment (see `killed/sitecustomize.py`).

        Args:
            *args: the command.
            timeout: seconds.
            **moment: KILL_AFTER or KILL_BELOW.
        """
        path = os.pathsep.join([str(ROOT / "tests" / "e2e" / "killed"), str(ROOT)])
        process = self.start(*args, PYTHONPATH=path, **moment)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert process.returncode == -signal.SIGKILL, f"{moment}: it ended by itself\n{out[-2000:]}\n{err[-4000:]}"

    def kill_at(self, node: str, *, after: float = 0.0, timeout: float = 600) -> bool:
        """Starts a run and kills it -9, `after` seconds after `node` has started; False when the run ended before."""
        seen = set((self.folder / "state").glob("*/runs/*/events.jsonl"))
        process = self.start("run", str(self.folder), "--json")
        deadline = time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < deadline:
            for events in set((self.folder / "state").glob("*/runs/*/events.jsonl")) - seen:
                if any(
                    json.loads(line)["node"] == node and json.loads(line)["state"] == "running"
                    for line in events.read_text().splitlines(keepends=True)
                    if line.endswith("\n")
                ):
                    time.sleep(after)
                    if process.poll() is not None:
                        break
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    return True
            time.sleep(0.02)
        process.communicate()
        return False
