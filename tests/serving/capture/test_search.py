"""Records found by bytes that are in them, without reading the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.capture.tfrecord import Damage, count, frame, frames, search

RECORDS = [b"id-1 a", b"id-10 b", b"", b"id-2 c", b"id-1 d", b"id-3" * 100]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records"
    path.write_bytes(b"".join(map(frame, RECORDS)))
    return path


def found(path: Path, needle: bytes) -> list[bytes | Damage]:
    with path.open("rb") as opened:
        return [record for record, _ in search(opened, needle)]


@pytest.mark.parametrize(
    ("needle", "places"), [(b"id-1", [0, 1, 4]), (b"id-2", [3]), (b"id-3", [5]), (b"id", [0, 1, 3, 4, 5]), (b"no", [])]
)
def test_every_record_with_the_bytes(file: Path, needle: bytes, places: list[int]) -> None:
    assert found(file, needle) == [RECORDS[place] for place in places]


def test_counted(file: Path, tmp_path: Path) -> None:
    with file.open("rb") as opened:
        assert count(opened) == len(RECORDS)
    (tmp_path / "empty").write_bytes(b"")
    with (tmp_path / "empty").open("rb") as opened:
        assert count(opened) == 0 and list(search(opened, b"id")) == []


def test_a_file_that_is_cut_short(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    assert found(file, b"id-2") == [b"id-2 c"]
    (damage,) = found(file, b"id-3")
    assert isinstance(damage, Damage) and damage.at_end


def test_damage_is_told_where_it_may_hide_the_record(file: Path) -> None:
    content = bytearray(file.read_bytes())
    second = list(frames(bytes(content)))[1][0]
    content[second + 12 + 6] ^= 1
    file.write_bytes(content)
    first, damage, last = found(file, b"id-1")
    assert (first, last) == (b"id-1 a", b"id-1 d")
    assert isinstance(damage, Damage) and damage.offset == second
    content[second] ^= 1
    file.write_bytes(content)
    assert found(file, b"id-1 a") == [b"id-1 a"]
    (damage,) = found(file, b"id-2")
    assert isinstance(damage, Damage) and "length" in damage.reason
