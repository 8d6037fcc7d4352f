"""Reads JSON exactly as RapidJSON does for TensorFlow Serving, errors and their offsets included.

It is the slow and complete way in; `json_document` comes here only with what its quick ones do not take for certain.
What RapidJSON takes and JSON proper does not: NaN, Inf, Infinity, bytes that are no UTF-8, a lone low surrogate, a
byte order mark, anything after the document. It keeps no stack of calls, so that nesting may go very deep.
"""

from __future__ import annotations

import re
import time
from typing import Any

from serving.model_server.errors import Code, ServingError

INT64_MIN, UINT64_MAX = -(2**63), 2**64 - 1
MAX_DEPTH = 1_000_000
"""Levels of nesting; each takes memory many times its one byte of text."""

_LOOK_EVERY_BYTES = 65536
_SPACE = re.compile(rb"[ \n\r\t]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HALF_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_INFINITY = re.compile(rb"-?Inf(inity)?")
_HEX4 = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_WORDS: dict[bytes, tuple[bytes, Any]] = {b"n": (b"null", None), b"t": (b"true", True), b"f": (b"false", False)}

# What is expected next, each with what RapidJSON says when something else comes.
_START = "The document is empty."
_VALUE = "Invalid value."
_NAME = "Missing a name for object member."
_COLON = "Missing a colon after a name of object member."
_AFTER_MEMBER = "Missing a comma or '}' after an object member."
_AFTER_ELEMENT = "Missing a comma or ']' after an array element."


class Members(dict[str, Any]):
    """A JSON object in which a name comes more than once; the first one counts.

    Attributes:
        pairs: every member, in the order of the text.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        for name, value in pairs:
            self.setdefault(name, value)
        self.pairs = pairs


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object: a plain dict, or `Members` when a name comes more than once."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else Members(pairs)


def number(token: bytes | str) -> int | float:
    """Returns the value of a token of digits: an int where int64 or uint64 holds it, else a float.

    Raises:
        OverflowError: no float64 holds it.
    """
    if len(token) <= 20:
        value = int(token)
        if INT64_MIN <= value <= UINT64_MAX:
            return value
    return decimal(token)


def decimal(token: bytes | str) -> float:
    """Returns the value of a decimal token.

    Raises:
        OverflowError: no float64 holds it.
    """
    value = float(token)
    if value in (float("inf"), float("-inf")):
        raise OverflowError
    return value


def parse_error(text: str, offset: int) -> ServingError:
    """Returns the error for a body that is no JSON."""
    return ServingError(Code.INVALID_ARGUMENT, f"JSON Parse error: {text} at offset: {offset}")


def read(body: bytes, deadline: float | None = None) -> Any:
    """Reads the first JSON value of a body.

    Args:
        body: the text.
        deadline: when to give up, by `time.monotonic`; None for never.

    Returns:
        It, of dict, list, str, int, float, bool and None. Ints are within int64 or uint64. Bytes that are no UTF-8
        are in the strings as `surrogateescape` has them. Objects with a repeated name are `Members`.

    Raises:
        ServingError: INVALID_ARGUMENT `JSON Parse error: …`, or DEADLINE_EXCEEDED.
    """
    at = _after_mark(body)
    expected = _START
    may_end = False  # an array or object that has just begun may end at once
    outer: list[tuple[Any, str]] = []  # what is open: a list, or an object's pairs; and the name of its next member
    is_object: list[bool] = []
    name = ""
    next_look = 0
    while True:
        if deadline is not None and at >= next_look:
            next_look = at + _LOOK_EVERY_BYTES
            if time.monotonic() > deadline:
                raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out reading the request's JSON")
        at = _SPACE.match(body, at).end()  # type: ignore[union-attr]
        sign = body[at : at + 1]
        if expected == _NAME and sign == b'"':
            name, at = _string(body, at)
            expected, may_end = _COLON, False
            continue
        if expected == _COLON and sign == b":":
            at, expected = at + 1, _VALUE
            continue
        if sign == b"," and expected in (_AFTER_ELEMENT, _AFTER_MEMBER):
            at, expected, may_end = at + 1, _VALUE if expected == _AFTER_ELEMENT else _NAME, False
            continue
        if expected in (_START, _VALUE) and sign and sign in b"[{":
            if len(outer) == MAX_DEPTH:
                raise parse_error(f"Values must not be nested deeper than {MAX_DEPTH} levels.", at)
            outer.append(([], name))
            is_object.append(sign == b"{")
            at, expected, may_end = at + 1, _NAME if sign == b"{" else _VALUE, True
            continue
        ends = expected in (_AFTER_ELEMENT, _AFTER_MEMBER) or may_end
        if ends and sign == (b"}" if is_object[-1] else b"]"):
            items, name = outer.pop()
            value: Any = members(items) if is_object.pop() else items
            at += 1
        elif expected in (_START, _VALUE) and sign and sign not in b"]},:\0":
            value, at = _scalar(body, at)
        else:
            raise parse_error(expected, at)
        if not outer:
            return value
        may_end = False
        if is_object[-1]:
            outer[-1][0].append((name, value))
            expected = _AFTER_MEMBER
        else:
            outer[-1][0].append(value)
            expected = _AFTER_ELEMENT


def _after_mark(body: bytes) -> int:
    at = 0
    for byte in b"\xef\xbb\xbf":
        at += body[at : at + 1] == bytes([byte])
    return at


def _scalar(body: bytes, at: int) -> tuple[Any, int]:
    sign = body[at : at + 1]
    if sign == b'"':
        return _string(body, at)
    if sign in _WORDS:
        word, value = _WORDS[sign]
        return value, _whole(body, at, word)
    start, after_minus = at, at + (sign == b"-")
    if body[after_minus : after_minus + 1] == b"N":
        return float("nan"), _whole(body, after_minus, b"NaN")
    if infinity := _INFINITY.match(body, at):
        if infinity[1] is None and body[infinity.end() : infinity.end() + 1] == b"i":
            _whole(body, after_minus, b"Infinity")
        return float(infinity[0]), infinity.end()
    if body[after_minus : after_minus + 1] == b"I":
        _whole(body, after_minus, b"Inf")
    match = _NUMBER.match(body, at)
    if match is None:
        raise parse_error(_VALUE, after_minus)
    _check_end_of_number(body, start)
    try:
        value = number(match[0]) if match[1] is None and match[2] is None else decimal(match[0])
    except OverflowError:
        raise parse_error("Number too big to be stored in double.", start) from None
    return value, match.end()


def _whole(body: bytes, at: int, word: bytes) -> int:
    for index in range(1, len(word)):
        if body[at + index : at + index + 1] != word[index : index + 1]:
            raise parse_error(_VALUE, at + index)
    return at + len(word)


def _check_end_of_number(body: bytes, at: int) -> None:
    end = _HALF_NUMBER.match(body, at).end()  # type: ignore[union-attr]
    if body[end : end + 1] == b"." and b"." not in body[at:end]:
        raise parse_error("Miss fraction part in number.", end + 1)
    if body[end : end + 1] in (b"e", b"E"):
        digits = end + 1 + (body[end + 1 : end + 2] in (b"+", b"-"))
        if not body[digits : digits + 1].isdigit():
            raise parse_error("Miss exponent in number.", digits)


def _string(body: bytes, at: int) -> tuple[str, int]:
    at += 1
    parts: list[bytes] = []
    while True:
        plain = _PLAIN.match(body, at)
        assert plain is not None  # it matches the empty string
        parts.append(plain[0])
        at = plain.end()
        sign = body[at : at + 1]
        if sign == b'"':
            return b"".join(parts).decode("utf-8", "surrogateescape"), at + 1
        if sign != b"\\":
            closed = "Missing a closing quotation mark in string."
            raise parse_error(closed if sign in (b"", b"\0") else "Invalid escape character in string.", at)
        escape = body[at + 1 : at + 2]
        if escape == b"u":
            code, end = _code_point(body, at)
            parts.append(chr(code).encode("utf-8", "surrogatepass"))
            at = end
        elif escape in _ESCAPES:
            parts.append(_ESCAPES[escape])
            at += 2
        else:
            raise parse_error("Invalid escape character in string.", at)


def _code_point(body: bytes, at: int) -> tuple[int, int]:
    code = _hex4(body, at + 2, at)
    if not 0xD800 <= code <= 0xDBFF:
        return code, at + 6
    if body[at + 6 : at + 8] != b"\\u":
        raise parse_error("The surrogate pair in string is invalid.", at)
    low = _hex4(body, at + 8, at)
    if not 0xDC00 <= low <= 0xDFFF:
        raise parse_error("The surrogate pair in string is invalid.", at)
    return 0x10000 + ((code - 0xD800) << 10 | (low - 0xDC00)), at + 12


def _hex4(body: bytes, at: int, escape_at: int) -> int:
    digits = _HEX4.match(body, at)
    if digits is None:
        raise parse_error("Incorrect hex digit after \\u escape in string.", escape_at)
    return int(digits[0], 16)
