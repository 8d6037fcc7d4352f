"""When a request is sent again, and after how long."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

from serving.model_server.errors import Code

RETRIED = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})
"""A request that failed so was not answered, and may be later. In REST they are 503 and 429."""


@dataclasses.dataclass(frozen=True)
class Retry:
    """Exponential backoff with jitter.

    Attributes:
        attempts: how many times a request is sent, at most; 1 is never again.
        first_seconds: the wait before the second attempt, without jitter.
        factor: each wait is so many times the one before.
        max_seconds: the longest wait, without jitter.
        jitter: the share of a wait that is left to chance, so that many clients do not come back at once: a wait of s
            seconds becomes one between `(1 - jitter) * s` and s.
        seed: seeds that chance; by default it is a real one.
    """

    attempts: int = 5
    first_seconds: float = 0.1
    factor: float = 2.0
    max_seconds: float = 5.0
    jitter: float = 0.5
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1. Got {self.attempts} instead")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be between 0 and 1. Got {self.jitter} instead")

    def waits(self, chance: random.Random) -> Iterator[float]:
        """Yields the seconds to wait before the second attempt, the third, and so on: `attempts - 1` of them."""
        seconds = self.first_seconds
        for _ in range(self.attempts - 1):
            capped = min(seconds, self.max_seconds)
            yield capped * (1 - self.jitter * chance.random())
            seconds *= self.factor
