"""A line of toy models with a ledger, as the Pusher leaves it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import releases, trials
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.model_digest import model_digest
from tests.serving.model_server.toy_models import ToyModels


class ToyLine:
    """A ledger and its base path. Version N answers x / 2 + N.

    Attributes:
        name: the line's name.
        ledger: its ledger.
        base: its base path.
    """

    def __init__(self, folder: Path, models: ToyModels) -> None:
        self.name = "toy"
        self.ledger = Ledger(folder / "releases.jsonl")
        self.base = folder / "serving_model" / "toy"
        self._models = models

    def push(self, *versions: int) -> None:
        for version in versions:
            folder = self._models.write(self.base, version, offset=float(version))
            self.record(version, model_digest(folder))

    def record(self, version: int, digest: str) -> None:
        self.ledger.append(
            LedgerEvent(
                event="pushed", version=version, run_id=f"run-{version}", model_digest=digest, who="ada", when="now"
            )
        )

    def canary(self, version: int, share: float) -> None:
        trials.canary(self.ledger, self.base, version, share)

    def promote(self) -> None:
        trials.promote(self.ledger, self.base)

    def shadow(self, version: int) -> None:
        trials.shadow(self.ledger, self.base, version)

    def rollback(self) -> None:
        releases.rollback(self.ledger, self.base)


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    """Writes toy models; see `ToyModels`."""
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


@pytest.fixture
def toy_line(tmp_path: Path, toy_models: ToyModels) -> ToyLine:
    return ToyLine(tmp_path, toy_models)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for a condition; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
