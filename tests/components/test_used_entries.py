"""Whoever reads an entry of a content store sets its time, by which `conveyor gc` tells that it is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.span_example_gen.store import SpanStore
from components.transform import own_store
from components.transform.analysis import analyze
from components.transform.spans import read_analysis
from components.tuner import memory


def profile(folder: Path) -> tuple[Path, Callable[[], Any]]:
    store = SpanStore(folder)
    store.keep_profile("key", {})
    return store.root / "profiles" / "key.json", lambda: store.profile("key")


def matches(folder: Path) -> tuple[Path, Callable[[], Any]]:
    store = SpanStore(folder)
    file = store.matches_file("key")
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    return file, lambda: store.matches("key")


def analysis(folder: Path) -> tuple[Path, Callable[[], Any]]:
    file = folder / "key.json"
    file.write_text(analyze(iter([]), {}, 10).dumps())
    return file, lambda: read_analysis(file)


def contributions(folder: Path) -> tuple[Path, Callable[[], Any]]:
    own_store.keep(folder / "made", folder, "key", 1)
    return folder / "key" / own_store.MANIFEST, lambda: own_store.kept(folder, "key", 1)


def search(folder: Path) -> tuple[Path, Callable[[], Any]]:
    memory.remember(folder, {"text": "best"})
    return folder / memory.BEST_FILE, lambda: memory.recall(folder)


@pytest.mark.parametrize("entry", [profile, matches, analysis, contributions, search], ids=lambda entry: entry.__name__)
def test_reading_sets_the_time(entry: Callable[[Path], tuple[Path, Callable[[], Any]]], tmp_path: Path) -> None:
    file, read = entry(tmp_path)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert read() is not None
    assert file.stat().st_mtime > 1_500_000_000
