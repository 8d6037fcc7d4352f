"""A signed line, pushed once: its tests change copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from serving.ledger import Ledger
from serving.signing.statement import Statement
from tests.serving.model_server.toy_models import ToyModels
from tests.serving.signing.signed_line import SignedLine, trust


class Place:
    """A copy of a signed line with versions 1 and 2, as hostile hands find it.

    Attributes:
        base: the model base path.
        ledger: the release ledger.
    """

    def __init__(self, folder: Path) -> None:
        self.base = folder / "serving_model" / "toy"
        self.ledger = folder / "releases.jsonl"

    def check(self, version: int = 1, keys: tuple[int, ...] = (1,), line: str = "toy") -> Statement:
        """Checks a version as a server does."""
        folder = self.base / str(version)
        return trust(*keys, line=line).check(folder, Ledger(self.ledger).state(), version)

    def files(self, version: int = 1) -> list[Path]:
        """Returns the files of a version, the signature among them."""
        return sorted(path for path in (self.base / str(version)).rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    line = SignedLine(folder, ToyModels(tmp_path_factory.mktemp("toy-models")))
    line.push(1, 2)
    (line.ledger.path.with_name("releases.jsonl.lock")).unlink(missing_ok=True)
    return folder


@pytest.fixture
def place(pushed: Path, tmp_path: Path) -> Place:
    shutil.copytree(pushed, tmp_path / "line")
    return Place(tmp_path / "line")
