"""Protocol buffers' wire format, as far as it is written and read by hand.

Building a small answer field by field through the protobuf library takes longer than running a small model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_SHIFTS = np.arange(0, 70, 7, dtype=np.uint64)
_CHUNK = 65536


def varint(value: int) -> bytes:
    """Returns a number as a varint.

    Args:
        value: not negative.
    """
    if value < 0x80:
        return value.to_bytes(1, "little")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(field: int, content: bytes) -> bytes:
    """Returns a length-delimited field: a text, bytes, a message or packed numbers."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def varints(values: np.ndarray) -> bytes:
    """Returns numbers as varints, one after another.

    Args:
        values: any integers, [N]; negative ones are sign-extended to 64 bits, as protocol buffers want it.
    """
    if values.size == 0:
        return b""
    if values.min() >= 0 and values.max() < 0x80:
        return values.astype(np.uint8).tobytes()
    wide = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
    return b"".join(_chunk(wide[i : i + _CHUNK]) for i in range(0, wide.size, _CHUNK))


def fields(raw: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Goes through the fields of a message.

    Args:
        raw: bytes with the message in them.
        start: where it starts.
        end: where it ends.

    Yields:
        The field's number, its wire type (2: length-delimited), and where its content starts and ends.

    Raises:
        ValueError: it is no message, or has groups in it.
    """
    while start < end:
        key, start = _read_varint(raw, start, end)
        kind = key & 7
        if kind == 0:
            stop = _read_varint(raw, start, end)[1]
        elif kind == 1:
            stop = start + 8
        elif kind == 2:
            length, start = _read_varint(raw, start, end)
            stop = start + length
        elif kind == 5:
            stop = start + 4
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        if stop > end:
            raise ValueError(f"a field that ends at byte {stop} in a message that ends at byte {end}")
        yield key >> 3, kind, start, stop
        start = stop


def _read_varint(raw: bytes, start: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while start < end and shift < 70:
        byte = raw[start]
        value |= (byte & 0x7F) << shift
        start += 1
        shift += 7
        if byte < 0x80:
            return value, start
    raise ValueError(f"no varint at byte {start}")


def _chunk(values: np.ndarray) -> bytes:
    groups = (values[:, None] >> _SHIFTS & np.uint64(0x7F)).astype(np.uint8)
    written = np.logical_or.accumulate((groups != 0)[:, ::-1], axis=1)[:, ::-1]
    written[:, 0] = True
    groups[:, :-1] |= np.where(written[:, 1:], np.uint8(0x80), np.uint8(0))
    return groups[written].tobytes()
