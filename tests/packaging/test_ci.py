"""What continuous integration runs, and that it fails when it should."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from conveyor.tfx_lines import LINES

ROOT = Path(__file__).resolve().parent.parent.parent


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n" + text)
    file.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout with the real .ci/run, and with a make, a doctor, an id and a modern-root that only take notes."""
    root = tmp_path / "clone"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", root / ".ci" / "run")
    script(tmp_path / "bin" / "make", 'echo "make $*" >> "$NOTES"\n[ "$1" != "$MAKE_FAILS" ]\n')
    script(tmp_path / "bin" / "id", 'echo "$USER_ID"\n')
    script(tmp_path / "bin" / "python3", 'printf \'{\\n  "line": "%s",\\n  "why": ""\\n}\\n\' "$HOST_LINE"\n')
    script(tmp_path / "shared" / "tools" / "modern-root", 'echo "modern-root $*" >> "$NOTES"\n[ -z "$MODERN_FAILS" ]\n')
    return root


def ci(clone: Path, **variables: str) -> tuple[int, list[str], str]:
    """Runs .ci/run. Returns its exit code, what was called, and what it said."""
    notes = clone.parent / "notes"
    notes.write_text("")
    defaults = {
        "PATH": f"{clone.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "NOTES": str(notes),
        "USER_ID": "0",
        "HOST_LINE": "1.16",
        "MAKE_FAILS": "nothing",
        "MODERN_FAILS": "",
        "CONVEYOR_MODERN_ROOT": "/somewhere",
    }
    done = subprocess.run(
        [str(clone / ".ci" / "run")], cwd="/", env=defaults | variables, capture_output=True, text=True
    )
    return done.returncode, notes.read_text().splitlines(), done.stderr


MODERN = "modern-root /somewhere -- CONVEYOR_TFX=1.21 make test"


def test_both_lines_are_tested(clone: Path) -> None:
    code, calls, said = ci(clone)
    assert (code, calls) == (0, ["make lint", "make test", MODERN])
    assert "passed on both TFX lines" in said


@pytest.mark.parametrize("target", ["lint", "test"])
def test_it_fails_when_a_step_on_the_host_fails(clone: Path, target: str) -> None:
    code, calls, said = ci(clone, MAKE_FAILS=target)
    assert code != 0
    assert calls[-1] == f"make {target}"
    assert "passed" not in said


def test_it_fails_when_the_tests_on_the_second_system_fail(clone: Path) -> None:
    code, calls, said = ci(clone, MODERN_FAILS="yes")
    assert code != 0
    assert calls[-1] == MODERN
    assert "passed" not in said


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"USER_ID": "1000"}, "TFX 1.21 was NOT tested: ../shared/tools/modern-root needs root"),
        ({"CONVEYOR_CI_MODERN": "0"}, "TFX 1.21 was NOT tested: CONVEYOR_CI_MODERN=0"),
        ({"HOST_LINE": "1.21"}, "TFX 1.16 was not tested"),
    ],
)
def test_what_is_left_out_is_said(clone: Path, variables: dict[str, str], reason: str) -> None:
    code, calls, said = ci(clone, **variables)
    assert (code, calls) == (0, ["make lint", "make test"])
    assert reason in said


def test_without_the_tool_that_makes_a_second_system(clone: Path) -> None:
    shutil.rmtree(clone.parent / "shared")
    code, calls, said = ci(clone)
    assert (code, calls) == (0, ["make lint", "make test"])
    assert "there is no ../shared/tools/modern-root here" in said


def test_the_workflow_has_both_lines() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    lines = {(one["os"], one["tfx"]) for one in job["strategy"]["matrix"]["include"]}
    assert lines == {("ubuntu-22.04", "1.16"), ("ubuntu-24.04", "1.21")}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-2:] == ["make lint", "make test"]
    assert not any(step.get("continue-on-error") for step in job["steps"])


def test_the_workflow_is_one_that_github_takes() -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not on PATH (go install github.com/rhysd/actionlint/cmd/actionlint@latest)")
    done = subprocess.run(
        [actionlint, "-no-color", str(ROOT / ".github" / "workflows" / "ci.yml")], capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode()


def test_each_job_has_the_python_that_its_tfx_line_is_locked_for() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    pythons = {line.name.removeprefix("tfx-"): line.pythons for line in LINES}
    for one in workflow["jobs"]["test"]["strategy"]["matrix"]["include"]:
        assert one["python"] in pythons[one["tfx"]], one
    assert workflow["jobs"]["test"]["env"] == {"CONVEYOR_TFX": "${{ matrix.tfx }}"}


def test_no_commit_of_main_goes_untested_because_of_the_next() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    concurrency = workflow["concurrency"]
    assert "github.sha" in concurrency["group"]
    assert concurrency["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
