"""Pieces of JSON text, as RapidJSON's writers and TensorFlow Serving's `WriteDecimal` spell them.

Text is str in which bytes that are no UTF-8 stand as `surrogateescape` has them: strings of a model go out as they are.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from serving.model_server.json_reader import Members

INDENT = "    "

_DEBUG_BYTES = 256
# Up to so many numbers NumPy takes longer than they do.
_FEW = 64
_FLOAT32 = struct.Struct("f")
_POWERS_OF_TEN = 10.0 ** np.arange(23)
_SPECIAL = re.compile(r'["\\\x00-\x1f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def encode(text: str) -> bytes:
    """Returns text as it goes over the wire."""
    return text.encode("utf-8", "surrogateescape")


def printable(text: str) -> str:
    """Returns text with a replacement character for each byte of it that is no UTF-8."""
    return text if text.isascii() else encode(text).decode("utf-8", "replace")


def string(value: str | bytes) -> str:
    """Returns a JSON string."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    return f'"{_SPECIAL.sub(_escape, value)}"'


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\u{ord(match[0]):04X}"


def decimals(values: np.ndarray) -> list[str]:
    """Returns JSON numbers: 6 significant digits where those round-trip, else 9 (float32) or 17 (float64).

    Whole numbers get `.0`; what is not finite is NaN, Infinity or -Infinity.

    Args:
        values: float32 or float64 (n,).
    """
    numbers = values.tolist()
    if not numbers:
        return []
    single = values.dtype == np.float32
    if len(numbers) <= _FEW:
        return [_decimal(number, single) for number in numbers]
    full = "%.9g" if single else "%.17g"
    forms = ["%g" if short else full for short in _six_digits_round_trip(values).tolist()]
    tokens = ("\n".join(forms) % tuple(numbers)).split("\n")
    tokens = [token if "." in token or "e" in token else token + ".0" for token in tokens]
    for index in np.flatnonzero(~np.isfinite(values)).tolist():
        number = numbers[index]
        tokens[index] = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return tokens


def _decimal(number: float, single: bool) -> str:
    token = f"{number:g}"
    if not math.isfinite(number):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[token]
    read_back = float(token)
    if single:
        [read_back] = _FLOAT32.unpack(_FLOAT32.pack(read_back))
    if read_back != number:
        token = f"{number:.9g}" if single else f"{number:.17g}"
    return token if "." in token or "e" in token else token + ".0"


def _six_digits_round_trip(values: np.ndarray) -> np.ndarray:
    """Returns whether `%g` gives back each value, bool (n,); anything for those that are not finite."""
    size = np.abs(values).astype(np.float64)
    with np.errstate(all="ignore"):
        usual = (size >= 1e-15) & (size < 1e15)
        # Six-digit integers and these powers of ten are exact, so that the one division rounds as reading back does.
        places = 5 - np.floor(np.log10(np.where(usual, size, 1.0))).astype(np.int64)
        up, down = _POWERS_OF_TEN[np.maximum(places, 0)], _POWERS_OF_TEN[np.maximum(-places, 0)]
        read_back = np.rint(size * up / down) * down / up
        short = read_back.astype(values.dtype) == np.abs(values)
    for index in np.flatnonzero(~usual & np.isfinite(size)).tolist():
        short[index] = values.dtype.type(float(f"{size[index]:g}")) == np.abs(values[index])
    return short


def nested(tokens: list[str], shape: Sequence[int]) -> str:
    """Returns values as nested arrays on one line.

    Args:
        tokens: the values in row-major order.
        shape: sizes, whose product is the number of values; none for a lone value.
    """
    return _nested(tokens, shape, lambda _: ("[", ", ", "]"))


def nested_on_lines(tokens: list[str], shape: Sequence[int], depth: int) -> str:
    """Returns values as nested arrays with each element on a line of its own.

    Args:
        tokens: the values in row-major order.
        shape: sizes, whose product is the number of values; none for a lone value.
        depth: how many arrays and objects are open already.
    """

    def marks(level: int) -> tuple[str, str, str]:
        outside = "\n" + INDENT * (depth + level)
        return f"[{outside}{INDENT}", f",{outside}{INDENT}", f"{outside}]"

    return _nested(tokens, shape, marks)


def _nested(tokens: list[str], shape: Sequence[int], marks: Callable[[int], tuple[str, str, str]]) -> str:
    for level in range(len(shape) - 1, -1, -1):
        size = shape[level]
        if size == 0:
            tokens = ["[]"] * math.prod(shape[:level])
            continue
        begin, between, end = marks(level)
        tokens = [begin + between.join(tokens[at : at + size]) + end for at in range(0, len(tokens), size)]
    return tokens[0]


def type_name(value: Any) -> str:
    """Returns the name that error messages give to the type of a JSON value."""
    if isinstance(value, bool):
        return "True" if value else "False"
    if value is None:
        return "Null"
    names = {str: "String", list: "Array", dict: "Object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "Number")


def debug_string(value: Any) -> str:
    """Returns a JSON value for an error message; nothing is added once there are 256 bytes of it.

    Args:
        value: as `json_reader.read` returns it; of any depth.
    """
    parts: list[str] = []
    size = 0
    walk = _pieces(value)
    while size < _DEBUG_BYTES and (piece := next(walk, None)) is not None:
        parts.append(piece)
        size += len(encode(piece))
    return printable("".join(parts))


def _pieces(value: Any) -> Iterator[str]:
    """Yields the text bit by bit; ends early at a number that is not finite, as RapidJSON's writer does."""
    todo: list[tuple[str, Any, int]] = [("", value, 0)]  # prefix, value or _End, how deep
    while todo:
        prefix, item, depth = todo.pop()
        if isinstance(item, _End):
            yield prefix + item.sign
        elif isinstance(item, dict):
            yield prefix + "{"
            outside = "\n" + INDENT * depth
            pairs = item.pairs if isinstance(item, Members) else list(item.items())
            todo.append((outside if pairs else "", _End("}"), depth))
            for index in range(min(len(pairs), _DEBUG_BYTES) - 1, -1, -1):
                name, member = pairs[index]
                comma = "," if index else ""
                todo.append((": ", member, depth + 1))
                todo.append((f"{comma}{outside}{INDENT}", name, depth + 1))
        elif isinstance(item, list):
            yield prefix + "["
            todo.append(("", _End("]"), depth))
            for index in range(min(len(item), _DEBUG_BYTES) - 1, -1, -1):
                todo.append((", " if index else "", item[index], depth + 1))
        elif isinstance(item, float) and not math.isfinite(item):
            yield prefix
            return
        else:
            yield prefix + _scalar(item)


class _End:
    """The end of an array or object that is still to be written."""

    def __init__(self, sign: str) -> None:
        self.sign = sign


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return string(value)
    return _shortest(value) if isinstance(value, float) else str(value)


def _shortest(value: float) -> str:
    """Returns the shortest digits that round-trip, laid out as RapidJSON lays them out."""
    text = repr(value)
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return f"{sign}0.0"
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return f"{sign}{digits.ljust(point, '0')}.0"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1}"
