"""Waiting in tests for what another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds. Generous: it is only waited for when the test fails."""


def eventually(check: Callable[[], object], what: str = "") -> None:
    """Returns as soon as `check` returns something true.

    Raises:
        AssertionError: it has not within `PATIENCE` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline, f"never came true: {what or check}"
        time.sleep(0.005)
