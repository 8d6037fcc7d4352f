"""Keeps the statistics of a span next to its records in the line's content store, and finds them again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from components.span_statistics_gen.statistics import statistics_path
from data.whole_file import link, new_folder
from schema.base import sha256_json


def statistics_key(code_digest: str) -> str:
    """Returns the key of statistics made by this code and this TFDV version: 16 hex digits."""
    from tensorflow_data_validation import version

    return sha256_json({"code": code_digest, "tfdv": version.__version__})[:16]


def stored_directory(state_dir: str | Path, ingest_key: str, key: str) -> Path:
    """Returns where statistics of a span are stored: `<state>/spans/<ingest_key>/stats-<key>`."""
    return Path(state_dir) / "spans" / ingest_key / f"stats-{key}"


def restore(stored: Path, uri: str | Path, splits: Sequence[str]) -> bool:
    """Links stored statistics into an artifact's folder; tells whether all splits were there."""
    if not all(statistics_path(stored, split).is_file() for split in splits):
        return False
    for split in splits:
        link(statistics_path(stored, split), statistics_path(uri, split))
    return True


def keep(uri: str | Path, stored: Path, splits: Sequence[str]) -> None:
    """Puts an artifact's statistics into the store, all splits or nothing.

    Nothing is stored for a span whose records are not in the store: a folder made here would look like theirs.
    """
    if not stored.parent.is_dir():
        return
    with new_folder(stored) as folder:
        for split in splits:
            link(statistics_path(uri, split), statistics_path(folder, split))
        # What is there lacks a split, or `restore` would have found it.
        shutil.rmtree(stored, ignore_errors=True)
