from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.infra_validator import process
from components.infra_validator.process import Validation, standing_by, validate


def run(script: str, timeout: float = 20.0, request: dict[str, object] | None = None) -> Validation:
    """Runs a script in the probe's place; `request` and `result` are the paths that it is given."""
    prelude = "import json, os, signal, sys, time; request, result = sys.argv[1:]; sys.stdin.readline()\n"
    return validate(request or {}, timeout, [sys.executable, "-c", prelude + script])


def answer(checks: str = '[{"name": "load", "ok": True, "detail": "fine"}]') -> str:
    return f"json.dump(dict(checks={checks}, latency=dict(p99_ms=1.0), seconds=dict(load=0.1)), open(result, 'w'))\n"


def only_check(validation: Validation) -> str:
    (check,) = validation.checks
    assert (check["name"], check["ok"], validation.blessed) == ("process", False, False)
    return str(check["detail"])


def test_what_the_process_finds_is_the_validation() -> None:
    validation = run(answer())
    assert validation.blessed
    assert validation.checks == [{"name": "load", "ok": True, "detail": "fine"}]
    assert validation.latency == {"p99_ms": 1.0}
    assert set(validation.seconds) == {"load", "total"}
    assert validation.stderr == ""
    assert json.loads(validation.to_json())["blessed"] is True


def test_one_failed_check_is_enough() -> None:
    checks = '[{"name": "a", "ok": True, "detail": ""}, {"name": "b", "ok": False, "detail": ""}]'
    assert not run(answer(checks)).blessed


def test_the_request_reaches_it() -> None:
    script = "value = json.load(open(request)); assert value == {'model_dir': 'm', 'timeout_seconds': 20.0}, value\n"
    assert run(script + answer(), request={"model_dir": "m"}).blessed


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("print('the end', file=sys.stderr, flush=True); os.abort()", "crashed with SIGABRT"),
        ("print('the end', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("print('the end', file=sys.stderr, flush=True); sys.exit(3)", "ended with exit code 3"),
        ("print('the end', file=sys.stderr)", "gave no result that can be read (FileNotFoundError"),
    ],
)
def test_a_crash_is_a_verdict_with_its_last_words(script: str, words: str) -> None:
    validation = run(script)
    detail = only_check(validation)
    assert words in detail and detail.endswith("its last words: the end")
    assert "the end" in validation.stderr


def test_a_process_that_answers_and_then_crashes_is_not_trusted() -> None:
    assert "SIGABRT" in only_check(run(answer() + "os.abort()"))


@pytest.mark.parametrize(
    "garbage",
    [
        "open(result, 'w').write('{not json')",
        "open(result, 'wb').write(b'\\xff\\x00')",
        "open(result, 'w').write('[]')",
        "json.dump({'checks': 7, 'latency': {}, 'seconds': {}}, open(result, 'w'))",
        "json.dump({'checks': [], 'latency': {}, 'seconds': {}}, open(result, 'w'))",
        "json.dump({'checks': [{'name': 'a'}], 'latency': {}, 'seconds': {}}, open(result, 'w'))",
    ],
)
def test_garbage_is_a_verdict(garbage: str) -> None:
    assert "gave no result that can be read" in only_check(run(garbage))


def test_ok_must_be_true_and_not_merely_truthy() -> None:
    assert not run(answer('[{"name": "a", "ok": "no", "detail": ""}]')).blessed


def test_a_hang_is_killed_with_all_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = (
        "import subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid)); print('probe: load', file=sys.stderr, flush=True)\n"
        "time.sleep(600)"
    )
    started = time.monotonic()
    detail = only_check(run(script, timeout=2.0))
    assert time.monotonic() - started < 15
    assert "hung and was killed after 2 s; its last words: probe: load" in detail
    child = int(note.read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(child):
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_only_the_end_of_a_long_stderr_is_kept() -> None:
    validation = run("print('x' * 100_000, file=sys.stderr); print('last', file=sys.stderr); sys.exit(1)")
    assert len(validation.stderr) <= 4000
    assert validation.stderr.endswith("last\n")


def test_it_finds_the_project_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "components.py").write_text("raise RuntimeError('the wrong one')")
    assert run("import components.infra_validator.process\n" + answer()).blessed
    assert os.getcwd() == str(tmp_path)


def waiting(tmp_path: Path, word: str) -> list[str]:
    """A probe that notes each start of it before it waits, and answers with `word`."""
    script = (
        "import json, sys; request, result = sys.argv[1:]\n"
        f"open({str(tmp_path / word)!r}, 'a').write('started ')\n"
        "if not sys.stdin.readline(): sys.exit(7)\n"
        "json.load(open(request))\n"
    )
    return [sys.executable, "-c", script + answer(f'[{{"name": "{word}", "ok": True, "detail": ""}}]')]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_one_that_stands_by_is_asked_first_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "probe_command", lambda: waiting(tmp_path, "fresh"))
    with standing_by(waiting(tmp_path, "standby")):
        _until((tmp_path / "standby").exists)
        assert [validate({}, 20.0).checks[0]["name"] for _ in range(2)] == ["standby", "fresh"]


def test_one_that_died_while_it_stood_by_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "probe_command", lambda: waiting(tmp_path, "fresh"))
    with standing_by([sys.executable, "-c", "raise SystemExit(9)"]):
        _until(lambda: not process._standby[0].waits)
        assert validate({}, 20.0).checks[0]["name"] == "fresh"


def test_one_that_was_not_needed_ends_with_its_context() -> None:
    with standing_by([sys.executable, "-c", "import time; time.sleep(600)"]):
        pid, folder = process._standby[0]._process.pid, process._standby[0]._folder
        assert _runs(pid)
    assert not _runs(pid) and not folder.exists() and not process._standby


def test_one_whose_parent_was_killed_ends(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = (
        "import os, signal\n"
        "from components.infra_validator import process\n"
        "with process.standing_by():\n"
        f"    open({str(note)!r}, 'w').write(str(process._standby[0]._process.pid))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", script], cwd=root, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    pid = int(note.read_text())
    deadline = time.monotonic() + 60  # It imports TensorFlow before it looks.
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(pid)
