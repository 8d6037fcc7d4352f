"""Backoff: how long the waits are, and that chance can be seeded."""

from __future__ import annotations

import random

import pytest

from serving.client import Retry


def waits(retry: Retry, seed: int = 1) -> list[float]:
    return list(retry.waits(random.Random(seed)))


def test_waits_grow_up_to_the_longest() -> None:
    assert waits(Retry(attempts=6, first_seconds=1.0, factor=3.0, max_seconds=10.0, jitter=0.0)) == [1, 3, 9, 10, 10]


def test_one_attempt_has_no_wait() -> None:
    assert waits(Retry(attempts=1)) == []


def test_jitter_shortens_waits_and_is_seeded() -> None:
    retry = Retry(attempts=200, first_seconds=1.0, max_seconds=1.0, jitter=0.5)
    assert waits(retry) == waits(retry)
    assert waits(retry) != waits(retry, seed=2)
    assert 0.5 <= min(waits(retry)) < 0.6
    assert 0.9 < max(waits(retry)) <= 1.0


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"jitter": 1.5}, {"jitter": -0.1}])
def test_wrong_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Retry(**wrong)  # type: ignore[arg-type]
