"""Retention: the oldest files go first, and nothing goes that is not capture's."""

from __future__ import annotations

import os
from pathlib import Path

from serving.capture.retention import Removed, sweep

NOW = 1_790_000_000.0
DAY = 86400.0


def _write(root: Path, folder: str, name: str, age_days: float, size: int = 100) -> Path:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age_days * DAY,) * 2)
    return path


def _root(tmp_path: Path) -> Path:
    _write(tmp_path, "2026-09-19/version=6", "a.tfrecord", 2.5)
    _write(tmp_path, "2026-09-20/version=6", "b.tfrecord", 1.5)
    _write(tmp_path, "2026-09-20/version=7", "c.tfrecord", 1.0)
    _write(tmp_path, "2026-09-21/version=7", "d.tfrecord", 0.5)
    return tmp_path


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*.tfrecord*"))


def test_without_limits_everything_stays(tmp_path: Path) -> None:
    root = _root(tmp_path)
    assert sweep(root, None, None, NOW) == Removed(0, 0)
    assert len(_names(root)) == 4


def test_by_age(tmp_path: Path) -> None:
    root = _root(tmp_path)
    assert sweep(root, 1.0, None, NOW) == Removed(2, 200)
    assert _names(root) == ["c.tfrecord", "d.tfrecord"]
    # Folders that are empty then go too.
    assert sorted(path.name for path in root.iterdir()) == ["2026-09-20", "2026-09-21"]
    assert [path.name for path in (root / "2026-09-20").iterdir()] == ["version=7"]


def test_by_size_the_oldest_go_first(tmp_path: Path) -> None:
    root = _root(tmp_path)
    assert sweep(root, None, 250, NOW) == Removed(2, 200)
    assert _names(root) == ["c.tfrecord", "d.tfrecord"]
    assert sweep(root, None, 200, NOW) == Removed(0, 0)
    assert sweep(root, None, 1, NOW) == Removed(2, 200)
    assert list(root.iterdir()) == []
    assert sweep(root, None, 1, NOW) == Removed(0, 0)


def test_files_that_are_not_closed_captures_stay(tmp_path: Path) -> None:
    root = _root(tmp_path)
    mine = [
        _write(root, "2026-09-19/version=6", ".open.tfrecord.open", 9),
        _write(root, "2026-09-19/version=6", "notes.txt", 9),
        _write(root, "elsewhere/version=6", "z.tfrecord", 9),
        _write(root, ".", "z.tfrecord", 9),
    ]
    sweep(root, 0.1, 1, NOW)
    assert all(path.is_file() for path in mine)
    assert _names(root) == [".open.tfrecord.open", "z.tfrecord", "z.tfrecord"]


def test_of_shadows_too(tmp_path: Path) -> None:
    _write(tmp_path, "2026-09-19/shadow-version=6", "a.tfrecord", 2.5)
    _write(tmp_path, "2026-09-19/version=none", "a.tfrecord", 2.5)
    assert sweep(tmp_path, 1.0, None, NOW) == Removed(2, 200)


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere", 1.0, 1) == Removed(0, 0)
