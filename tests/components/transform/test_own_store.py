"""What is kept of a span, however it is damaged: found whole, or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.transform import own_store
from components.transform.own_store import forget, keep, kept

KEY = "ab12"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store that has KEY with three entries, the second of them empty."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "0").write_bytes(b"first")
    (made / "2").write_bytes(b"third")
    keep(made, tmp_path / "store", KEY, 3)
    return tmp_path / "store"


def test_what_is_kept_is_found(store: Path) -> None:
    place = store / KEY
    assert kept(store, KEY, 3) == (place / "0", None, place / "2")
    assert (place / "2").read_bytes() == b"third"
    assert [p.name for p in store.iterdir()] == [KEY]
    assert kept(store, "cd34", 3) is None


def test_a_span_may_contribute_nothing(tmp_path: Path) -> None:
    keep(tmp_path / "nowhere", tmp_path, KEY, 2)
    assert kept(tmp_path, KEY, 2) == (None, None)


def _as_file(place: Path) -> None:
    shutil.rmtree(place)
    place.write_text("no folder")


def _as_link_to_nowhere(place: Path) -> None:
    shutil.rmtree(place)
    place.symlink_to("nowhere")


def _entry_as_folder(place: Path) -> None:
    (place / "0").unlink()
    (place / "0").mkdir()


def _of_another_span(place: Path) -> None:
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**manifest, "key": "cd34"}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "manifest.json").unlink(),
        lambda place: (place / "manifest.json").write_text('{"key":"ab12","sha25'),
        lambda place: (place / "manifest.json").write_text("[]"),
        lambda place: (place / "manifest.json").write_text("[" * 100_000),
        lambda place: (place / "manifest.json").write_text('{"key":"ab12","sha256":7}'),
        lambda place: (place / "manifest.json").write_text('{"key":"ab12","sha256":[]}'),
        lambda place: (place / "manifest.json").write_text('{"key":"ab12","sha256":[1,2,3]}'),
        lambda place: (place / "manifest.json").write_bytes(b"\xff\xfe"),
        lambda place: (place / "0").unlink(),
        lambda place: (place / "0").write_bytes(b"First"),
        lambda place: (place / "2").write_bytes(b""),
        _as_file,
        _as_link_to_nowhere,
        _entry_as_folder,
        _of_another_span,
    ],
)
def test_what_is_damaged_is_removed(
    store: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(store / KEY)
    assert kept(store, KEY, 3) is None
    assert f"{store / KEY} is damaged, so its span is analysed again: " in caplog.text
    assert not list(store.iterdir())


def test_more_or_fewer_entries_are_not_these(store: Path) -> None:
    assert kept(store, KEY, 4) is None


def test_what_another_run_has_kept_meanwhile_stays(store: Path, tmp_path: Path) -> None:
    before = (store / KEY / "manifest.json").stat().st_ino
    keep(tmp_path / "nowhere", store, KEY, 3)
    assert (store / KEY / "manifest.json").stat().st_ino == before
    assert [p.name for p in store.iterdir()] == [KEY]


def test_what_is_written_by_half_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    made.mkdir()
    (made / "0").write_bytes(b"first")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(own_store, "replace_text", full)
    with pytest.raises(OSError, match="no space"):
        keep(made, tmp_path / "store", KEY, 1)
    assert not list((tmp_path / "store").iterdir())


def test_to_forget_leaves_what_a_link_points_to(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (store / KEY).rename(other)
    (store / KEY).symlink_to(other)
    forget(store, KEY)
    assert not (store / KEY).is_symlink() and (other / "0").read_bytes() == b"first"
    forget(store, "never there")
