"""Toy models, written once a session, and a line with one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conveyor import cli
from tests.pipeline.batch.toy_line import TASKS, ToyLine, write_model

Batch = Callable[..., int]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Task to model; `other` is a second one for two classes."""
    folder = tmp_path_factory.mktemp("toy-models")
    found = {task: write_model(folder / task, task, seed) for seed, task in enumerate(TASKS)}
    return {**found, "other": write_model(folder / "other", "binary_classification", 9)}


@pytest.fixture
def toy(tmp_path: Path, models: dict[str, Path]) -> ToyLine:
    """A line with two classes, version 1 live."""
    line = ToyLine.make(tmp_path / "toy", "binary_classification")
    line.push(1, models["binary_classification"])
    return line


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Runs the verb in this process, in the line's folder, and returns the exit code."""

    def run(line: ToyLine, *args: Any) -> int:
        monkeypatch.setenv("CONVEYOR_HOME", str(line.folder / "state"))
        monkeypatch.chdir(line.folder)
        return cli.main(["batch", str(line.folder), *map(str, args)])

    return run
