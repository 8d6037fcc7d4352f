"""`conveyor logs`: captured requests for people and for programs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conveyor import cli
from conveyor.moments import Moment
from schema.serving import CaptureConfig
from serving.capture.capture_file import closed_files
from serving.capture.hook import CaptureHook
from serving.capture.record import ShadowExchange
from serving.model_server.errors import Code
from tests.serving.capture.exchanges import NOON, exchange, rest_exchange

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The capture folder of a line `cabs` with five captured requests."""
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path))
    root = tmp_path / "cabs" / "capture"
    base = {name: getattr(exchange(1), name) for name in exchange().__dataclass_fields__}
    with CaptureHook(root, "cabs", CaptureConfig()) as hook:
        hook.done(exchange(0, caller_key="trip-0"))
        hook.done(exchange(1))
        hook.done(ShadowExchange(**{**base, "version": 8}, of_version=7, max_abs_difference=0.5))
        hook.done(exchange(2, code=Code.INVALID_ARGUMENT, message="no [bold] \x1b[31m way", response=b"", version=None))
        hook.done(rest_exchange(b"{", b'{"error": "x"}', request_id="id-000003", started=NOON + 60))
    return root


def _json(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert cli.main(["logs", "cabs", "--json", *args]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def _ids(document: dict[str, Any]) -> list[str]:
    return [record["request_id"] for record in document["records"]]


def test_one_document_with_everything(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = _json(capsys)
    assert _ids(document) == ["id-000000", "id-000001", "id-000001", "id-000002", "id-000003"]
    assert document["line"] == "cabs" and document["damaged"] == []
    first, _, shadow, failed, odd = document["records"]
    file = first.pop("file")
    assert Path(file).is_relative_to(capture)
    assert first == {
        "request_id": "id-000000",
        "line": "cabs",
        "model": "taxi",
        "version": 7,
        "time": "2026-09-21T14:13:20.500000Z",
        "seconds": 0.002,
        "api": "gRPC",
        "method": "Predict",
        "signature": "serving_raw",
        "code": "OK",
        "message": "",
        "caller_key": "trip-0",
        "inputs": {"fare": [0.0]},
        "outputs": {"scores": [[0.25, 0.75]]},
    }
    assert shadow["version"] == 8
    assert shadow["shadow"] == {"of_version": 7, "max_abs_difference": 0.5, "class_agreement": None}
    assert (failed["version"], failed["code"], failed["outputs"]) == (None, "INVALID_ARGUMENT", {})
    assert odd["request_body"] == "{" and odd["api"] == "REST"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--request-id", "id-000001"], [1, 1]),
        (["--caller-key", "trip-0"], [0]),
        (["--version", "8"], [1]),
        (["--limit", "2"], [2, 3]),
        (["--limit", "0"], [0, 1, 1, 2, 3]),
        (["--since", "2026-09-21T14:14:00Z"], [3]),
        (["--until", "2026-09-21T16:14:00+02:00"], [0, 1, 1, 2]),
        (["--since", "1s"], []),
    ],
)
def test_what_is_asked_for(
    capture: Path, capsys: pytest.CaptureFixture[str], options: list[str], wanted: list[int]
) -> None:
    assert _ids(_json(capsys, *options)) == [f"id-{number:06d}" for number in wanted]


def test_a_table_for_people(capture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conveyor.output.Console", lambda **kwargs: _wide(**kwargs))
    assert cli.main(["logs", "cabs"]) == 0
    out = capsys.readouterr().out
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert rows[0][:4] == ["time", "request id", "version", "api"]
    assert rows[1][:9] == [
        "2026-09-21T14:13:20.500",
        "id-000000",
        "7",
        "gRPC Predict",
        "serving_raw",
        "1",
        "2.0",
        "OK",
        "trip-0",
    ]
    assert '{"scores": [[0.25, 0.75]]}' in out and "8 (shadow)" in out
    # What a caller sent must not steer the terminal.
    assert "no [bold] \\x1b[31m way" in out and "\x1b" not in out


def _wide(**kwargs: Any) -> Any:
    from rich.console import Console

    return Console(**{**kwargs, "width": 250})


def test_nothing_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path))
    assert cli.main(["logs", "taxi"]) == 0
    assert "nothing captured yet" in capsys.readouterr().out
    assert cli.main(["logs", "taxi", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"line": "taxi", "records": [], "damaged": []}
    assert cli.main(["logs", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_nothing_that_fits(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["logs", "cabs", "--version", "99"]) == 0
    assert "no captured request fits" in capsys.readouterr().out


def test_a_damaged_file_is_named(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(path for path in closed_files(capture) if "version=8" in str(path))
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["logs", "cabs", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert len(document["records"]) == 4
    assert document["damaged"] == [{"file": str(path), "offset": 0, "reason": "a record is cut short"}]
    assert str(path) in captured.err


@pytest.mark.parametrize("value", ["yesterday", "1w", "-3h", "2026-13-01", ""])
def test_a_time_that_is_none(capture: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    assert cli.main(["logs", "cabs", "--since", value]) == 2
    assert "ISO 8601" in capsys.readouterr().err


def test_times() -> None:
    moment = Moment()
    assert moment.convert("2026-09-21T14:13:20.5", None, None) == NOON
    assert moment.convert("2026-09-21T14:13:20.500Z", None, None) == NOON
    assert moment.convert("2026-09-21", None, None) == 1_789_948_800
    for text, seconds in (("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800)):
        assert moment.convert(text, None, None) == pytest.approx(time.time() - seconds, abs=60)


def test_following_prints_a_document_a_line_until_interrupted(capture: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "conveyor", "logs", "cabs", "--follow", "--json", "--since", "2026-09-21"],
        cwd=ROOT,
        env={**os.environ, "CONVEYOR_HOME": str(capture.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, a shell has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        seen = [json.loads(process.stdout.readline()) for _ in range(5)]
        with CaptureHook(capture, "cabs", CaptureConfig()) as hook:
            hook.done(exchange(9))
            seen.append(json.loads(process.stdout.readline()))
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert sorted(record["request_id"] for record in seen[:5]) == [f"id-00000{n}" for n in (0, 1, 1, 2, 3)]
    assert seen[5]["request_id"] == "id-000009"
    assert process.returncode == 0 and errors == ""


def test_no_tensorflow_is_imported(capture: Path) -> None:
    code = (
        "import sys; from conveyor.cli import main; main(['logs', 'cabs', '--json'])\n"
        "heavy = ('tensorflow', 'tfx', 'apache_beam', 'pandas', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
