"""Models for the tests of the Evaluator, each saved once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components.evaluator.known_models import save_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    root = tmp_path_factory.mktemp("models")

    def model(task: str, column: str) -> Path:
        directory = root / task / column
        if not directory.exists():
            save_model(directory, task, column)
        return directory

    return model
