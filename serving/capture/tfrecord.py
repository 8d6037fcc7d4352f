"""TFRecord framing of one record at a time, and the reading of files that may end in the middle of one.

`data.records` writes and reads whole tables. Here records come one by one and a file may be torn or still growing.
"""

from __future__ import annotations

import dataclasses
import functools
import mmap
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from google_crc32c import value as crc32c

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEAD_BYTES = 12
FRAME_BYTES = 16
"""What a record takes in a file beyond its own bytes."""


@dataclasses.dataclass(frozen=True)
class Damage:
    """A place in a file where no whole record is.

    Attributes:
        offset: where it begins, bytes.
        reason: what is wrong, in words.
        at_end: the file merely ends too early: it is still being written, or its writer was killed.
    """

    offset: int
    reason: str
    at_end: bool


def frame(record: bytes) -> bytes:
    """Returns a record as it stands in a TFRecord file."""
    return b"".join((_head(len(record)), record, _masked(record)))


def read(file: BinaryIO, start: int = 0) -> Iterator[tuple[bytes | Damage, int]]:
    """Reads records.

    Args:
        file: the file, not compressed.
        start: where a record begins, bytes.

    Yields:
        A record and the offset after it. A damaged place is yielded likewise; after one whose length still holds, the
        reading goes on behind it, otherwise it is the last thing that is yielded.
    """
    file.seek(start)
    size = os.fstat(file.fileno()).st_size
    at = start
    while at < size:
        head = file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            yield Damage(at, "a record is cut short", at_end=True), at
            return
        length_bytes = head[:8]
        if _masked(length_bytes) != head[8:]:
            yield Damage(at, "the length of a record does not fit its checksum", at_end=False), at
            return
        length = _LENGTH.unpack(length_bytes)[0]
        end = at + FRAME_BYTES + length
        # Before the read: a length may say more than there is memory for.
        if end > size or len(rest := file.read(length + 4)) < length + 4:
            yield Damage(at, "a record is cut short", at_end=True), at
            return
        record = rest[:length]
        if _masked(record) == rest[length:]:
            yield record, end
        else:
            yield Damage(at, "a record does not fit its checksum", at_end=False), end
        at = end


def frames(content: mmap.mmap | bytes, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yields where records begin and end in a file's bytes, framing included, as far as their lengths hold.

    What is in the records is not looked at: a file of 100,000 is walked through in a tenth of a second.
    """
    at, size = start, len(content)
    while at + FRAME_BYTES <= size:
        length = _LENGTH.unpack_from(content, at)[0]
        end: int = at + FRAME_BYTES + length
        if end > size or content[at : at + _HEAD_BYTES] != _head(length):
            return
        yield at, end
        at = end


def count(file: BinaryIO) -> int:
    """Returns how many records a file has, as far as their lengths hold."""
    if not os.fstat(file.fileno()).st_size:
        return 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return sum(1 for _ in frames(content))


def search(file: BinaryIO, needle: bytes) -> Iterator[tuple[bytes | Damage, int]]:
    """Finds the records that have some bytes in them, without reading the others.

    Args:
        file: the file, not compressed.
        needle: the bytes; at least one.

    Yields:
        As `read`, but of the records only those with these bytes, and of the damaged places only those with them.
    """
    if not os.fstat(file.fileno()).st_size:
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        hit, done = content.find(needle), 0
        if hit < 0:
            return
        for at, end in frames(content):
            done = end
            if hit >= end:
                continue
            record = content[at + _HEAD_BYTES : end - 4]
            if _masked(record) != content[end - 4 : end]:
                yield Damage(at, "a record does not fit its checksum", at_end=False), end
            elif needle in record:
                yield record, end
            hit = content.find(needle, end)
            if hit < 0:
                return
    # The bytes are behind a place from which on no record can be told: `read` says what is wrong there.
    yield from ((found, end) for found, end in read(file, done) if isinstance(found, Damage))


def whole_bytes(file: BinaryIO) -> int:
    """Returns how many bytes at the start of a file are whole records."""
    whole = 0
    for record, end in read(file):
        if isinstance(record, Damage):
            break
        whole = end
    return whole


@functools.lru_cache(maxsize=4096)
def _head(length: int) -> bytes:
    packed = _LENGTH.pack(length)
    return packed + _masked(packed)


def _masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return _CRC.pack((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
