"""The probe's process: started apart, watched, and whatever becomes of it turned into a verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PROBE = "components.infra_validator.probe"
TAIL_BYTES = 4000

_ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Validation:
    """What the probe found.

    Attributes:
        checks: dicts of `name`, `ok`, `detail`.
        latency: `signature`, `calls`, `p50_ms`, `p99_ms`, `budget_ms`; empty when nothing was measured.
        seconds: what took how long.
        stderr: the end of what the process said, kept only when it did not end well.
    """

    checks: list[dict[str, Any]]
    latency: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    stderr: str = ""

    @property
    def blessed(self) -> bool:
        """Whether there were checks and all of them passed."""
        return bool(self.checks) and all(check["ok"] for check in self.checks)

    def to_json(self) -> str:
        """Returns the validation as JSON."""
        value = {"blessed": self.blessed, **dataclasses.asdict(self)}
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def probe_command() -> list[str]:
    """Returns the command that starts the probe, without its two arguments."""
    return [sys.executable, "-m", PROBE]


class ProbeProcess:
    """A process that imports TensorFlow as soon as it is started and then waits for its request.

    The import takes longer than all the checks, and needs no candidate: started early, it is over when one comes.
    Close it, or use it as a context; a parent that dies closes the pipe, and the waiting process ends.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="infra-validator-")
        self._folder = Path(self._temporary.name)
        arguments = [str(self._folder / "request.json"), str(self._folder / "result.json")]
        try:
            with open(self._folder / "stderr", "wb") as stderr:
                self._process = subprocess.Popen(
                    [*(command or probe_command()), *arguments],
                    cwd=self._folder,
                    env=_environment(),
                    stdin=subprocess.PIPE,
                    stdout=stderr,
                    stderr=stderr,
                    start_new_session=True,
                )
        except BaseException:
            self._temporary.cleanup()
            raise

    def __enter__(self) -> ProbeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def waits(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def validate(self, request: dict[str, Any], timeout_seconds: float) -> Validation:
        """Sends the request, once, and returns what became of it; see `validate`."""
        started = time.monotonic()
        content = json.dumps({**request, "timeout_seconds": timeout_seconds})
        (self._folder / "request.json").write_text(content, encoding="utf-8")
        # One that has ended already has its exit code for a finding.
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        try:
            code: int | None = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            code = None
            _kill_group(self._process)
        seconds = time.monotonic() - started
        tail = _tail(self._folder / "stderr")
        problem = _ending(code, seconds)
        if problem is None:
            try:
                return _read(self._folder / "result.json", seconds)
            except (OSError, ValueError, KeyError, TypeError) as error:
                problem = f"the validating process gave no result that can be read ({type(error).__name__}: {error})"
        last = tail.rstrip().rsplit("\n", 1)[-1]
        check = {"name": "process", "ok": False, "detail": f"{problem}; its last words: {last or 'none'}"}
        return Validation([check], seconds={"total": seconds}, stderr=tail)

    def close(self) -> None:
        """Kills the process, if it still runs, with all that it started, and removes its folder."""
        if self.waits:
            _kill_group(self._process)
        with contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._temporary.cleanup()


_standby: list[ProbeProcess] = []


@contextlib.contextmanager
def standing_by(command: Sequence[str] | None = None) -> Iterator[None]:
    """Has a probe process wait for the first `validate` of this process within the context."""
    process = ProbeProcess(command)
    _standby.append(process)
    try:
        yield
    finally:
        if process in _standby:
            _standby.remove(process)
        process.close()


def validate(request: dict[str, Any], timeout_seconds: float, command: Sequence[str] | None = None) -> Validation:
    """Runs the probe in a process of its own and returns what it found.

    A crash, a hang and an answer that is none are findings, not errors: the candidate is not fit to be served.

    Args:
        request: what to probe; see `components.infra_validator.probe`.
        timeout_seconds: after so long the process, and every process that it started, is killed.
        command: the command to start, which gets the paths of the request and of the result, and a line on its
            standard input once the request is there; by default the probe, and one that stands by if there is.
    """
    if command is None and _standby:
        process = _standby.pop()
        # One that died while it waited says nothing about this candidate.
        if process.waits:
            return process.validate(request, timeout_seconds)
    with ProbeProcess(command) as process:
        return process.validate(request, timeout_seconds)


def _environment() -> dict[str, str]:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "1", **os.environ}
    # An installed package is found by itself, and site-packages must not come before the standard library.
    if Path(sysconfig.get_paths()["purelib"]) != _ROOT:
        parts = [str(_ROOT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
    return environment


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _ending(code: int | None, seconds: float) -> str | None:
    if code is None:
        return f"the validating process hung and was killed after {seconds:.0f} s"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the validating process crashed with {signal.Signals(-code).name} after {seconds:.1f} s"
        return f"the validating process crashed with signal {-code} after {seconds:.1f} s"
    return f"the validating process ended with exit code {code} after {seconds:.1f} s" if code else None


def _tail(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")


def _read(path: Path, seconds: float) -> Validation:
    value = json.loads(path.read_text(encoding="utf-8"))
    checks = [
        {"name": str(check["name"]), "ok": check["ok"] is True, "detail": str(check["detail"])}
        for check in value["checks"]
    ]
    if not checks:
        raise ValueError("it names no checks")
    measured = {str(key): float(number) for key, number in value["seconds"].items()}
    return Validation(checks, dict(value["latency"]), {**measured, "total": seconds})
