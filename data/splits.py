"""Which split a row belongs to: decided by a hash of its content and nothing else.

So a row keeps its split whatever other rows there are and wherever it stands, and equal rows share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from data.binary import byte_rows
from data.rows import canonical_rows


def assign_splits(
    columns: Mapping[str, pa.Array],
    splits: Mapping[str, int],
    split_by: Sequence[str],
    sample: float | None = None,
) -> np.ndarray:
    """Returns the split of each row, int64 (n,), as an index into `split_names(splits)`, or -1 outside of the sample.

    Args:
        columns: the input columns as they were read (before types), (n,) each.
        splits: hash buckets a split.
        split_by: the key columns; empty for all columns. One that is not among `columns` counts as missing.
        sample: the share of the rows to take, of each split alike; None for all.
    """
    count = len(next(iter(columns.values()))) if columns else 0
    keys = {name: columns[name] for name in (split_by or columns) if name in columns}
    rows = canonical_rows(keys) if keys else pa.array([b""] * count, pa.binary())
    # SHA-256 is spread evenly and the same in every process, which Python's own hash is not.
    digests = b"".join([hashlib.sha256(row).digest() for row in byte_rows(rows)])
    words = np.frombuffer(digests, ">u8").reshape(-1, 4)
    hashes = words[:, 0].astype(np.uint64)
    names = split_names(splits)
    table = np.repeat(np.arange(len(names)), [splits[name] for name in names])
    found = table[(hashes % np.uint64(len(table))).astype(np.int64)]
    # Another word of the hash, so that a sample has each split's share of rows.
    return found if sample is None else np.where(words[:, 1] < sample * 2.0**64, found, -1)


def split_names(splits: Mapping[str, int]) -> list[str]:
    """Returns the split names in their canonical order: train, validation, eval, then others by name.

    The order of keys in the config does not matter, so that sorting them moves no row.
    """
    first = [name for name in ("train", "validation", "eval") if name in splits]
    return first + sorted(set(splits) - set(first))
