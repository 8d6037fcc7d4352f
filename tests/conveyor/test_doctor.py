"""The doctor: what it makes of a machine, and that it runs where nothing is installed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conveyor import doctor
from conveyor.doctor import GB, Report, diagnose, render
from conveyor.machine import Interpreter, Machine, interpreters
from conveyor.tfx_lines import choose

ROOT = Path(__file__).resolve().parent.parent.parent
BARE = ["__init__", "bootstrap", "doctor", "environment", "machine", "tfx_lines"]
PYTHON_310 = Interpreter("/usr/bin/python3.10", "3.10.13", True)
HEALTHY = Machine(
    system="Linux",
    architecture="x86_64",
    glibc=(2, 36),
    avx=True,
    interpreters=(PYTHON_310, Interpreter("/usr/bin/python3.11", "3.11.7", True)),
    compiler="/usr/bin/g++",
    uv="/usr/bin/uv",
    pip=True,
    package_manager="apt-get",
    root_rights=False,
    disk_free=100 * GB,
    memory=16 * GB,
    cpus=2,
)


def look(environment: str = "missing", wanted: str | None = None, **changes: Any) -> Report:
    machine = replace(HEALTHY, **changes)
    return diagnose(machine, choose(machine.glibc, wanted), environment)


def check(report: Report, name: str) -> doctor.Check:
    return next(one for one in report.checks if one.name == name)


def test_a_healthy_machine() -> None:
    report = look()
    assert report.ok
    assert (report.line, report.interpreter) == ("1.16", PYTHON_310)
    assert [one.name for one in report.checks if one.state != "ok"] == ["environment"]


def test_a_newer_machine_gets_the_newer_line_and_its_python() -> None:
    report = look(glibc=(2, 41))
    assert report.line == "1.21"
    assert report.interpreter is not None and report.interpreter.version == "3.11.7"


@pytest.mark.parametrize(
    ("changes", "name", "words", "mend"),
    [
        ({"architecture": "aarch64"}, "platform", "aarch64", "docker"),
        ({"system": "Darwin", "glibc": None}, "platform", "Darwin", "docker"),
        ({"avx": False}, "platform", "AVX", ""),
        ({"glibc": None}, "TFX line", "no GNU C library", "docker"),
        ({"glibc": (2, 12)}, "TFX line", "2.12", "docker"),
        ({"compiler": None}, "compiler", "pyfarmhash", "sudo apt-get install -y g++"),
        (
            {"compiler": None, "package_manager": "dnf", "root_rights": True},
            "compiler",
            "C++",
            "dnf install -y gcc-c++",
        ),
        ({"uv": None, "pip": False}, "uv", "neither uv nor pip", "sudo apt-get install -y python3-pip"),
        ({"disk_free": 2 * GB}, "disk", "2.0 GB free", "uv cache"),
    ],
)
def test_what_blocks(changes: dict[str, Any], name: str, words: str, mend: str) -> None:
    report = look(**changes)
    assert not report.ok
    found = check(report, name)
    assert found.state == "block"
    assert words in found.found
    assert mend in found.mend
    assert f"BLOCK  {name}" in render(report)
    assert "cannot run here yet" in render(report)


@pytest.mark.parametrize(
    ("changes", "name", "words", "mend"),
    [
        ({"interpreters": ()}, "Python", "needs Python 3.10, and none was found", "uv python install 3.10"),
        ({"interpreters": (), "uv": None}, "Python", "needs Python 3.10", "pyenv install 3.10"),
        (
            {"interpreters": (replace(PYTHON_310, headers=False),)},
            "Python",
            "no C headers",
            "sudo apt-get install -y python3.10-dev",
        ),
        ({"disk_free": 5 * GB}, "disk", "5.0 GB free", "uv cache prune"),
        ({"disk_free": None}, "disk", "could not be told", ""),
        ({"memory": 2 * GB}, "memory", "2.0 GB", ""),
        ({"memory": None}, "memory", "could not be told", ""),
    ],
)
def test_what_only_warns(changes: dict[str, Any], name: str, words: str, mend: str) -> None:
    report = look(**changes)
    assert report.ok
    found = check(report, name)
    assert found.state == "warn"
    assert words in found.found
    assert mend in found.mend


def test_an_interpreter_without_headers_is_not_used() -> None:
    assert look(interpreters=(replace(PYTHON_310, headers=False),)).interpreter is None


def test_pip_may_fetch_uv() -> None:
    report = look(uv=None)
    assert report.ok
    assert "pip will fetch it" in check(report, "uv").found


def test_a_ready_environment_needs_no_tools_any_more() -> None:
    report = look("ready", interpreters=(), compiler=None, uv=None, pip=False, disk_free=1 * GB)
    assert report.ok
    assert [one.state for one in report.checks] == ["ok"] * len(report.checks)
    assert render(report).endswith("Conveyor can run here.")


def test_a_wish_that_does_not_fit_blocks_even_with_an_environment() -> None:
    report = look("ready", wanted="1.21")
    assert not report.ok
    assert check(report, "TFX line").mend == "unset CONVEYOR_TFX"


def test_json_is_one_document_with_everything(capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor.main(["--json"])
    document = json.loads(capsys.readouterr().out)
    assert status == (0 if document["ok"] else 1)
    assert set(document) == {"line", "why", "interpreter", "environment", "checks", "ok"}
    assert {"name", "state", "found", "mend"} == set(document["checks"][0])


def test_exit_code_says_whether_something_blocks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONVEYOR_TFX", "2.0")
    assert doctor.main([]) == 1
    assert "CONVEYOR_TFX must be 1.21 or 1.16. Got '2.0' instead" in capsys.readouterr().out
    assert doctor.main(["--no-such-flag"]) == 2


def _run_bare(python: str, tmp_path: Path) -> dict[str, Any]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONVEYOR"))}
    # -S: no site-packages at all. From another folder, so that nothing is found by chance.
    command = [python, "-S", str(ROOT / "conveyor" / "doctor.py"), "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.stderr == ""
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if document["ok"] else 1)
    return document


def test_runs_as_a_bare_script_with_nothing_installed(tmp_path: Path) -> None:
    assert _run_bare(sys.executable, tmp_path)["checks"]


def test_runs_on_an_old_python(tmp_path: Path) -> None:
    old = [one for one in interpreters(("3.8",))]
    if not old:
        pytest.skip("no Python 3.8 on this machine")
    assert _run_bare(old[0].path, tmp_path)["checks"]


@pytest.mark.parametrize("module", BARE)
def test_set_up_modules_import_only_the_standard_library_and_each_other(module: str) -> None:
    tree = ast.parse((ROOT / "conveyor" / f"{module}.py").read_text(encoding="utf-8"), feature_version=(3, 8))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    ours = {name for name in imported if name.split(".")[0] == "conveyor"}
    # The package gives `Line` to whoever asks for it, and imports nothing before.
    asked_for = {"conveyor.research.line"} if module == "__init__" else set()
    assert ours - asked_for <= {f"conveyor.{name}" for name in BARE}
    assert {name.split(".")[0] for name in imported - ours} <= sys.stdlib_module_names
