"""TFRecord files: read and written without TensorFlow, with the same bytes for the same records.

A record is its length (uint64), the masked CRC-32C of the length, the bytes, and their masked CRC-32C
(tensorflow/core/lib/io/record_writer.h). The GZIP header has no time and no name.
"""

from __future__ import annotations

import gzip
import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.binary import byte_rows, content, fixed_binary, join_cells

_GZIP = b"\x1f\x8b"
_LEVEL = 1
# Level 6 takes three times as long and saves a sixth of the space.
_CHUNK = 1 << 22


def shard_name(shard: int, shards: int) -> str:
    """Returns the file name of a shard, as TFX's ExampleGen names it."""
    return f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"


class SplitWriter:
    """Writes the records of one split as GZIP TFRecord shards.

    The number of shards is part of their names and known at the end only, so they get their names in `close`.
    """

    def __init__(self, folder: Path, shard_rows: int = 250_000, prefix: str = "") -> None:
        """Starts a split.

        Args:
            folder: the split's folder; made when it is not there.
            shard_rows: records a shard, at most.
            prefix: what the names of the shards start with.
        """
        self._folder = folder
        self._shard_rows = shard_rows
        self._prefix = prefix
        self._shards: list[Path] = []
        self._file: IO[bytes] | None = None
        self._room = 0
        self.rows = 0
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, records: pa.Array) -> None:
        """Appends records, binary (n,)."""
        start = 0
        while start < len(records):
            if not self._room:
                self._next_shard()
            part = records.slice(start, self._room)
            self._put(framed(part))
            start += len(part)
            self._room -= len(part)
            self.rows += len(part)

    def close(self) -> list[str]:
        """Ends the split and returns the names of its shards; a split without records has one empty shard."""
        if not self._shards:
            self._next_shard()
        self._end_shard()
        names = [self._prefix + shard_name(index, len(self._shards)) for index in range(len(self._shards))]
        for path, name in zip(self._shards, names, strict=True):
            os.replace(path, self._folder / name)
        return names

    def _next_shard(self) -> None:
        self._end_shard()
        path = self._folder / f".shard-{len(self._shards):05d}-{uuid.uuid4().hex}"
        self._shards.append(path)
        self._file = open(path, "wb")  # noqa: SIM115
        # wbits 31 is a GZIP header without name and with time 0: gzip.open would write the time of day.
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
        self._room = self._shard_rows

    def _put(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        self._file.write(self._deflate.compress(data))

    def _end_shard(self) -> None:
        if self._file is not None:
            self._file.write(self._deflate.flush())
            self._file.close()
            self._file = None


def framed(records: pa.Array) -> memoryview:
    """Returns binary records (n,) as the bytes of a TFRecord file."""
    from google_crc32c import value as crc32c

    if not len(records):
        return memoryview(b"")
    lengths = np.asarray(pc.binary_length(records)).astype("<u8")
    unique, inverse = np.unique(lengths, return_inverse=True)
    unique_crcs = _masked(np.array([crc32c(length.tobytes()) for length in unique], dtype=np.uint64))
    length_crcs = unique_crcs[inverse.reshape(-1)]
    data_crcs = _masked(np.fromiter((crc32c(r) for r in byte_rows(records)), np.uint64, len(records)))
    head = np.concatenate([lengths.view(np.uint8).reshape(-1, 8), _bytes4(length_crcs)], axis=1)
    return content(join_cells(fixed_binary(head), records, fixed_binary(_bytes4(data_crcs))))


def _masked(crcs: np.ndarray) -> np.ndarray:
    """Masks CRCs: rotated right by 15 bits, plus 0xa282ead8, modulo 2**32."""
    crcs = crcs.astype(np.uint64)
    return (((crcs >> np.uint64(15)) | (crcs << np.uint64(17))) + np.uint64(0xA282EAD8)) & np.uint64(0xFFFFFFFF)


def _bytes4(values: np.ndarray) -> np.ndarray:
    return values.astype("<u4").view(np.uint8).reshape(-1, 4)


def read_records(path: str | Path) -> Iterator[bytes]:
    """Yields the records of a TFRecord file, GZIP-compressed or not, in file order.

    Raises:
        OSError: the file cannot be read, is cut short, or a record does not fit its checksum.
    """
    from google_crc32c import value as crc32c

    with open(path, "rb") as raw:
        compressed = raw.read(2) == _GZIP
        raw.seek(0)
        file: IO[bytes] = gzip.GzipFile(fileobj=raw) if compressed else raw  # type: ignore[assignment]
        buffer, position, number = b"", 0, 0
        while chunk := file.read(_CHUNK):
            buffer, position = buffer[position:] + chunk, 0
            while len(buffer) - position >= 12:
                head, head_crc = buffer[position : position + 8], buffer[position + 8 : position + 12]
                if _masked_one(crc32c(head)) != head_crc:
                    raise OSError(f"the length of record {number + 1} does not fit its checksum")
                end = position + 12 + struct.unpack("<Q", head)[0]
                if end + 4 > len(buffer):
                    break
                record = buffer[position + 12 : end]
                if _masked_one(crc32c(record)) != buffer[end : end + 4]:
                    raise OSError(f"record {number + 1} does not fit its checksum")
                yield record
                number += 1
                position = end + 4
        if position != len(buffer):
            raise OSError(f"record {number + 1} is cut short")


def _masked_one(crc: int) -> bytes:
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
