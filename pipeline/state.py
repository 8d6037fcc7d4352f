"""Where a line keeps its state: one folder a line, and what lies where in it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from data.mounts import mounted_folder
from data.whole_file import replace_text
from schema.errors import LineBusy

HOME_VARIABLE = "CONVEYOR_HOME"


def home(env: Mapping[str, str], cwd: Path) -> Path:
    """Returns the folder that holds the states of lines: `$CONVEYOR_HOME`, or else `.conveyor` in `cwd`.

    Raises:
        ConfigError: it is in a bucket that is not mounted.
    """
    named = env.get(HOME_VARIABLE)
    return (Path(mounted_folder(named, env, HOME_VARIABLE)) if named else cwd / ".conveyor").absolute()


@dataclasses.dataclass(frozen=True)
class State:
    """The state folder of one line.

    Attributes:
        root: the folder, absolute.
        line: the line's name.
    """

    root: Path
    line: str

    @classmethod
    def locate(cls, line: str, env: Mapping[str, str], cwd: Path) -> State:
        """Returns the state of `line` under `$CONVEYOR_HOME`, or else under `.conveyor` in `cwd`."""
        return cls(home(env, cwd) / line, line)

    @classmethod
    def all(cls, env: Mapping[str, str], cwd: Path) -> list[State]:
        """Returns the state of every line that has one there, by name."""
        folder = home(env, cwd)
        return [cls(child, child.name) for child in sorted(folder.glob("*")) if (child / "runs").is_dir()]

    @property
    def pipeline_root(self) -> Path:
        """TFX's artifacts."""
        return self.root / "pipeline_root"

    @property
    def compiled_root(self) -> Path:
        """Artifacts of runs as compiled."""
        return self.root / "compiled_root"

    @property
    def metadata_db(self) -> Path:
        """ML Metadata's SQLite file."""
        return self.root / "metadata.sqlite"

    @property
    def ledger(self) -> Path:
        """The release ledger."""
        return self.root / "releases.jsonl"

    @property
    def runs(self) -> Path:
        """A folder a run: its record, its log and its events."""
        return self.root / "runs"

    @property
    def capture(self) -> Path:
        """Captured requests and answers of the served model."""
        return self.root / "capture"

    def base_path(self, push_destination: str | None) -> Path:
        """Returns the model base path: the configured `pusher.push_destination`, or else one in this folder.

        Raises:
            ConfigError: it is in a bucket that is not mounted.
        """
        if push_destination:
            return Path(mounted_folder(push_destination, os.environ, "pusher.push_destination"))
        return self.root / "serving_model" / self.line

    @contextlib.contextmanager
    def locked(self, *, wait_seconds: float = 0.0) -> Iterator[None]:
        """Holds the line for one run.

        Args:
            wait_seconds: how long to wait for another holder; 0 does not wait, a negative number waits for ever.

        Raises:
            LineBusy: another process holds the line.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        holder = self.root / "lock.json"
        lock = filelock.FileLock(self.root / "lock")
        try:
            lock.acquire(timeout=wait_seconds)
        except filelock.Timeout:
            raise LineBusy(
                f"line {self.line!r} is held by another run{_holder_text(holder)}",
                hint="wait for it (conveyor run --wait SECONDS), or end that process; a killed run leaves no lock",
            ) from None
        try:
            write_json(holder, {"pid": os.getpid()})
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def _holder_text(holder: Path) -> str:
    try:
        return f" (pid {int(json.loads(holder.read_text())['pid'])})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, whole or not at all."""
    replace_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
