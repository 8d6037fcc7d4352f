"""TFRecord framing: the same bytes as everybody's, and files that end in the middle of a record."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from data.records import framed, read_records
from serving.capture import tfrecord
from serving.capture.tfrecord import Damage

RECORDS = st.lists(st.binary(max_size=300), max_size=8)


def _read(content: bytes, start: int = 0) -> list[tuple[bytes | Damage, int]]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return list(tfrecord.read(file, start))


@given(RECORDS)
def test_the_bytes_are_those_of_any_tfrecord_file(records: list[bytes]) -> None:
    content = b"".join(map(tfrecord.frame, records))
    assert content == bytes(framed(pa.array(records, pa.binary())))
    assert [record for record, _ in _read(content)] == records


@given(RECORDS.filter(bool), st.data())
def test_a_file_cut_anywhere_gives_its_whole_records(records: list[bytes], data: st.DataObject) -> None:
    frames = list(map(tfrecord.frame, records))
    content = b"".join(frames)
    cut = data.draw(st.integers(0, len(content)))
    ends = [sum(map(len, frames[: i + 1])) for i in range(len(frames))]
    whole = [end for end in ends if end <= cut]
    found = _read(content[:cut])
    assert found[: len(whole)] == [(record, end) for record, end in zip(records, whole, strict=False)]
    at = whole[-1] if whole else 0
    assert found[len(whole) :] == ([] if cut == at else [(Damage(at, "a record is cut short", True), at)])
    with tempfile.TemporaryFile() as file:
        file.write(content[:cut])
        file.flush()
        assert tfrecord.whole_bytes(file) == at


def test_reading_goes_on_where_it_stopped() -> None:
    frames = [tfrecord.frame(record) for record in (b"one", b"two", b"three")]
    assert _read(b"".join(frames), len(frames[0])) == [
        (b"two", len(frames[0]) + len(frames[1])),
        (b"three", sum(map(len, frames))),
    ]


def test_a_wrong_byte_costs_one_record_and_a_wrong_length_the_rest() -> None:
    frames = [bytearray(tfrecord.frame(record)) for record in (b"one", b"two", b"three")]
    frames[1][13] ^= 1
    content = b"".join(frames)
    at = len(frames[0])
    behind = at + len(frames[1])
    assert _read(content) == [
        (b"one", at),
        (Damage(at, "a record does not fit its checksum", False), behind),
        (b"three", len(content)),
    ]
    frames[1][0] ^= 1
    assert _read(b"".join(frames))[1:] == [(Damage(at, "the length of a record does not fit its checksum", False), at)]


def test_a_length_beyond_the_file_is_not_believed() -> None:
    length = (2**62).to_bytes(8, "little")
    head = tfrecord.frame(length)  # its checksum field is that of the record, which is such a length
    crafted = length + head[-4:]
    assert _read(crafted + b"x" * 100) == [(Damage(0, "a record is cut short", True), 0)]


def test_an_empty_file_and_an_empty_record_are_no_damage(tmp_path: Path) -> None:
    assert _read(b"") == []
    file = tmp_path / "file"
    file.write_bytes(tfrecord.frame(b""))
    assert list(read_records(file)) == [b""]
