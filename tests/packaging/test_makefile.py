"""The doors of the Makefile."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z][a-z-]*):(?!=)", TEXT, re.MULTILINE)


def make(*arguments: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_doors_are_there() -> None:
    assert {"run", "test", "test-all", "bench", "lint", "lock", "help", "doctor"} <= set(TARGETS)


def test_help_lists_every_target_and_is_the_default() -> None:
    listed = re.findall(r"^make ([a-z-]+) +(\S.*)$", make(), re.MULTILINE)
    assert [name for name, _ in listed] == TARGETS
    assert make() == make("help")


def test_no_target_can_be_hidden_by_a_file() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)
    assert phony is not None and phony[1].split() == TARGETS


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["run"], "conveyor run taxi"),
        (["run", "LINE=census", "ARGS=--json"], "conveyor run census --json"),
        (["test"], '-m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"'),
        (["test-all"], "-m pytest -n 2 --dist loadfile --no-loadscope-reorder"),
        (["bench"], "python -m benchmarks"),
        (["bench-serving"], "python -m benchmarks.serving"),
        (["lint"], "ruff check ."),
        (["lint"], "ruff format --check ."),
        (["lint"], "mypy"),
        (["lint"], "lint-imports"),
    ],
)
def test_a_door_sets_up_by_itself(arguments: list[str], command: str) -> None:
    lines = [line for line in make("-n", *arguments).splitlines() if command in line]
    assert lines
    assert all(line.startswith("python3 conveyor/bootstrap.py -- ") for line in lines)
