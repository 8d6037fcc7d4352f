"""Bodies of REST requests as Python values.

Three ways in, each only as far as it gives what RapidJSON would: orjson; the standard library, for what orjson refuses
(NaN, Infinity) or hides (a repeated name); `json_reader`, for the rest and for every error.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from serving.model_server import json_reader
from serving.model_server.errors import Code, ServingError
from serving.model_server.json_text import debug_string, printable

_SPACE = " \n\r\t"


def _number(token: str) -> int | float:
    try:
        return json_reader.number(token)
    except OverflowError as e:
        raise ValueError(token) from e


def _decimal(token: str) -> float:
    try:
        return json_reader.decimal(token)
    except OverflowError as e:
        raise ValueError(token) from e


_decoder = json.JSONDecoder(object_pairs_hook=json_reader.members, parse_int=_number, parse_float=_decimal)


def parse(body: bytes, deadline: float | None = None) -> Any:
    """Returns the JSON value of a body, as `json_reader.read` does.

    Args:
        body: the text.
        deadline: when to give up, by `time.monotonic`; looked at where a body can take long.

    Raises:
        ServingError: INVALID_ARGUMENT `JSON Parse error: …`, or DEADLINE_EXCEEDED.
    """
    document = parse_quickly(body)
    return json_reader.read(body, deadline) if document is None else document


def parse_quickly(body: bytes) -> dict[str, Any] | list[Any] | None:
    """Returns the JSON array or object of a body, or None if only `json_reader.read` can tell what the body is."""
    try:
        document = orjson.loads(body)
    except ValueError:
        pass
    else:
        if isinstance(document, (dict, list)) and _member_count(document) == body.count(b":"):
            return document
    # The standard library takes half a surrogate pair.
    if b"\\ud" in body or b"\\uD" in body:
        return None
    text = body.decode("utf-8", "surrogateescape")
    try:
        document, _ = _decoder.raw_decode(text, len(text) - len(text.lstrip(_SPACE)))
    except (ValueError, RecursionError):
        return None
    # A lone number may be the begin of something else, as in `1e`.
    return document if isinstance(document, (dict, list)) else None


def _member_count(document: Any) -> int:
    """Returns how many members objects have, as far down as requests usually have objects.

    If that is the number of colons in the text, each colon stands for one of those members: no member was dropped
    because its name came twice, and none is further down.
    """
    if not isinstance(document, dict):
        return 0
    count = len(document)
    for value in document.values():
        if isinstance(value, dict):
            count += len(value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            count += sum(len(item) for item in value if isinstance(item, dict))
    return count


def request_object(body: bytes, deadline: float | None = None) -> dict[str, Any]:
    """Returns the JSON object of a request's body.

    Args:
        body: the text.
        deadline: as in `parse`.

    Raises:
        ServingError: INVALID_ARGUMENT: the body is empty, no JSON, or no object. DEADLINE_EXCEEDED.
    """
    if not body:
        raise ServingError(Code.INVALID_ARGUMENT, "JSON Parse error: The document is empty")
    document = parse(body, deadline)
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    return document


def signature_name(document: dict[str, Any]) -> str:
    """Returns the signature that a request names, or an empty string.

    Raises:
        ServingError: INVALID_ARGUMENT: it is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return printable(name)


def format_error(value: Any, what: str) -> ServingError:
    """Returns the error for a JSON value that a request must not have in that place."""
    return ServingError(Code.INVALID_ARGUMENT, f"JSON Value: {debug_string(value)} {what}")
