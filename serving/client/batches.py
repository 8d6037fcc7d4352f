"""Rows cut into requests, each of one caller's key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from schema.errors import UsageError

Keys = str | Sequence[str] | None
"""The caller's own key: one for all rows, one a row, or none."""


def key_problem(key: Any) -> str | None:
    """Returns what is wrong with a caller's key, or None: it must go through HTTP headers and gRPC metadata."""
    if isinstance(key, str) and key and key.isascii() and key.isprintable() and key == key.strip():
        return None
    return f"a caller's key must be printable ASCII text, not empty, with no blanks around it. Got {key!r} instead"


def cut(good: np.ndarray, total: int, keys: Keys, batch_rows: int) -> Iterator[tuple[int, int, str | None]]:
    """Cuts rows into requests.

    Args:
        good: int64 (m,), the positions of the rows to send.
        total: how many rows were given.
        keys: the caller's own keys of the rows that were given.
        batch_rows: rows a request, at most.

    Yields:
        Start and stop within `good`, and the one key of these rows.

    Raises:
        UsageError: there is not a key a row, or one that no request can carry.
    """
    if keys is None or isinstance(keys, str):
        given: list[Any] = [keys] * len(good)
    else:
        if len(keys) != total:
            raise UsageError(f"there must be a key for each of the {total} rows. Got {len(keys)} keys instead")
        given = [keys[row] for row in good]
    for row, key in zip(good, given, strict=True):
        problem = None if key is None else key_problem(key)
        if problem:
            raise UsageError(f"row {row}: {problem}")
    start = 0
    for stop in range(1, len(given) + 1):
        if stop == len(given) or stop - start == batch_rows or given[stop] != given[start]:
            yield start, stop, given[start]
            start = stop


def name_request(request_id: str | None, position: int, parts: int) -> str:
    """Returns the id of one of several requests: made of the one that was given, or else new."""
    if request_id is None:
        return uuid.uuid4().hex
    return request_id if parts == 1 else f"{request_id}.{position}"
