"""`conveyor trace`: what people and programs are shown, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conveyor import cli
from pipeline.trace.kept import keep
from schema.serving import CaptureConfig
from serving.capture.hook import CaptureHook
from serving.model_server.errors import Code
from tests.pipeline.trace.conftest import RELEASED, Home, home, run_id  # noqa: F401
from tests.serving.capture.exchanges import exchange


@pytest.fixture
def line(home: Home) -> Home:  # noqa: F811
    """A line with two versions and a request to each."""
    with CaptureHook(home.state.capture, "cabs", CaptureConfig()) as hook:
        for version in (7, 8):
            home.event("pushed", version, RELEASED + version)
            keep(home.state, home.run(version))
            hook.done(exchange(version, version=version, started=RELEASED + 60))
        evil = "no [bold]\x1b[31m way"
        hook.done(exchange(1, version=None, response=b"", code=Code.NOT_FOUND, message=evil))
    return home


def shown(capsys: pytest.CaptureFixture[str], *args: str, expect: int = 0) -> str:
    assert cli.main(["trace", *args]) == expect
    captured = capsys.readouterr()
    return " ".join((captured.err if expect else captured.out).split())


def test_a_request_for_people(line: Home, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "id-000008")
    for part in (
        "answered by version 8",
        "live, by pushed of version 8",
        f"{8:064x}",
        run_id(8),
        "c" * 64,
        "e" * 40,
        "f" * 64,
        "s" * 64,
        "2026Q1",
        "train 70 validation 10 eval 20",
        "warn: drift in span 2026Q1, train, fare",
        "the search was cut short by its time limit",
        "learning_rate 0.01",
        "ended by patience",
    ):
        assert part in text, part


def test_callers_text_does_not_steer_the_terminal(line: Home, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "id-000001")
    assert "no [bold]\\x1b[31m way" in text and "\x1b" not in text


def test_version_span_run_and_json(line: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert "captured answers 2026-09-21: 1" in shown(capsys, "v7")
    assert f"version 8 (live)" in shown(capsys, "2026Q1")  # noqa: F541
    assert run_id(8) in shown(capsys, "latest", "--line", "cabs")
    document: dict[str, Any] = json.loads(shown(capsys, "40", "--json"))
    assert [one["run_id"] for one in document["span"]["appearances"]] == [run_id(7), run_id(8)]


def test_graphs(line: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert shown(capsys, "id-000007", "--graph", "mermaid").startswith("flowchart LR ")
    file = tmp_path / "lineage.dot"
    assert f"written to {file}" in shown(capsys, "id-000007", "--graph", "dot", "-o", str(file)).replace(" /", " /")
    assert file.read_text().startswith("digraph lineage {")
    assert json.loads(shown(capsys, "v8", "--json", "--graph", "dot"))["graph"].startswith("digraph")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "exactly one of WHAT and --row"),
        (["v7", "--row", "a=1"], "exactly one of WHAT and --row"),
        (["v7", "-o", "x"], "--output must go with --graph"),
        (["v7", "--run", "latest"], "--run must go with --row"),
        (["--row", "a=1", "--graph", "dot"], "--graph must go with WHAT"),
        (["v9"], "versions 7, 8"),
        (["v7", "--line", "nosuch"], "LINE must have been run before"),
    ],
)
def test_wrong_calls(line: Home, capsys: pytest.CaptureFixture[str], args: list[str], message: str) -> None:
    assert message in shown(capsys, *args, expect=2)


def test_a_row_that_is_nowhere(line: Home, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--row", "fare=5", "--line", "cabs")
    assert "0 rows with fare=5" in text
