"""Asking a manager in tests."""

from __future__ import annotations

import numpy as np

from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager

X = np.float32([2.0])


def offset(manager: Manager, version: int | None = None, label: str | None = None, name: str = "m") -> float:
    """Asks a toy model and returns its `offset`, which tells which model has answered.

    Raises:
        ServingError: it did not answer.
    """
    with manager.acquire(ModelSpecQuery(name, version, label)) as lease:
        servable = lease.servable
        return float(servable.run(servable.signatures["serving_default"], {"x": X}, ["y"])[0][0]) - 1.0


def states(manager: Manager, name: str = "m") -> dict[int, str]:
    """Returns version to state, newest first."""
    return {status.version: status.state.name for status in manager.statuses(name)}
