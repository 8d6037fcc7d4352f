"""Keeps what spans contributed to the analyzers of a line's own function, and finds it again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from absl import logging

from data.fingerprint import file_sha256
from data.whole_file import mark_used, new_folder, replace_text
from schema.base import canonical_json

MANIFEST = "manifest.json"

Contributions = tuple[Path | None, ...]
"""One GZIP TFRecord file an analyzer, in the order of `OwnAnalyzers.entries`; None where there is no record."""


def keep(made: Path, folder: Path, key: str, count: int) -> None:
    """Puts a span's contributions into the store, all or nothing.

    Args:
        made: folder of the files, named by the index of their entry; they are moved. It need not be there when the
            span contributes nothing.
        folder: the store.
        key: the span's key.
        count: how many entries there are.
    """
    with new_folder(folder / key) as new:
        digests: list[str | None] = []
        for i in range(count):
            file = made / str(i)
            digests.append(file_sha256(file) if file.is_file() else None)
            if file.is_file():
                os.rename(file, new / str(i))
        replace_text(new / MANIFEST, canonical_json({"key": key, "sha256": digests}))


def kept(folder: Path, key: str, count: int) -> Contributions | None:
    """Returns a span's contributions, or None when the store lacks them or what it has is damaged (which is removed).

    Args:
        folder: the store.
        key: the span's key.
        count: how many entries there must be.
    """
    place = folder / key
    if not os.path.lexists(place):
        return None
    try:
        return _checked(place, key, count)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
        logging.warning("%s is damaged, so its span is analysed again: %s", place, e)
        forget(folder, key)
        return None


def forget(folder: Path, key: str) -> None:
    """Removes a span's contributions from the store, whatever is there in their place."""
    place = folder / key
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _checked(place: Path, key: str, count: int) -> Contributions:
    manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    digests = manifest["sha256"]
    if manifest["key"] != key or len(digests) != count:
        raise ValueError(
            f"{MANIFEST} must be of key {key} with {count} digests. Got {manifest['key']} with {len(digests)}"
        )
    for i, digest in enumerate(digests):
        if digest is not None and file_sha256(place / str(i)) != digest:
            raise ValueError(f"file {i} is not the one whose digest {MANIFEST} has")
    mark_used(place / MANIFEST)
    return tuple(None if digest is None else place / str(i) for i, digest in enumerate(digests))
