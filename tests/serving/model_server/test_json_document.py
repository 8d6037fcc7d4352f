"""JSON as RapidJSON reads it, by every way in."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server import json_document, json_reader
from serving.model_server.errors import Code, ServingError

# What a Python json module and RapidJSON read alike.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.just("a:b")
)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)

# A body, and what RapidJSON says.
BROKEN: list[tuple[bytes, str]] = [
    (b" \n", "The document is empty. at offset: 2"),
    (b",", "The document is empty. at offset: 0"),
    (b"]", "The document is empty. at offset: 0"),
    (b"\x00{}", "The document is empty. at offset: 0"),
    (b"instances = [1, 2]", "Invalid value. at offset: 0"),
    (b"\xff", "Invalid value. at offset: 0"),
    (b'{"a": }', "Invalid value. at offset: 6"),
    (b'{"a": ,', "Invalid value. at offset: 6"),
    (b'{"a":', "Invalid value. at offset: 5"),
    (b"[", "Invalid value. at offset: 1"),
    (b"[1, ]", "Invalid value. at offset: 4"),
    (b"[1,,2]", "Invalid value. at offset: 3"),
    (b"[nul]", "Invalid value. at offset: 4"),
    (b"[nulL]", "Invalid value. at offset: 4"),
    (b"[tru", "Invalid value. at offset: 4"),
    (b"[fals_]", "Invalid value. at offset: 5"),
    (b"[Nan]", "Invalid value. at offset: 3"),
    (b"[-Ix]", "Invalid value. at offset: 3"),
    (b"[Infi]", "Invalid value. at offset: 5"),
    (b"[-]", "Invalid value. at offset: 2"),
    (b"[+1]", "Invalid value. at offset: 1"),
    (b"[.5]", "Invalid value. at offset: 1"),
    (b"['a']", "Invalid value. at offset: 1"),
    (b"{", "Missing a name for object member. at offset: 1"),
    (b"{1: 2}", "Missing a name for object member. at offset: 1"),
    (b'{"a": 1,}', "Missing a name for object member. at offset: 8"),
    (b'{"a"', "Missing a colon after a name of object member. at offset: 4"),
    (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
    (b'{"a": 1', "Missing a comma or '}' after an object member. at offset: 7"),
    (b'{"a": 1 "b": 2}', "Missing a comma or '}' after an object member. at offset: 8"),
    (b'{"a": 1]', "Missing a comma or '}' after an object member. at offset: 7"),
    (b"[1", "Missing a comma or ']' after an array element. at offset: 2"),
    (b"[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
    (b"[01]", "Missing a comma or ']' after an array element. at offset: 2"),
    (b"[1}", "Missing a comma or ']' after an array element. at offset: 2"),
    (b"[1\x00]", "Missing a comma or ']' after an array element. at offset: 2"),
    (b'{"a": "b}', "Missing a closing quotation mark in string. at offset: 9"),
    (b'["a\x00b"]', "Missing a closing quotation mark in string. at offset: 3"),
    (b'["a\nb"]', "Invalid escape character in string. at offset: 3"),
    (b'["a\\x"]', "Invalid escape character in string. at offset: 3"),
    (b'["\\', "Invalid escape character in string. at offset: 2"),
    (b'["\\u12g4"]', "Incorrect hex digit after \\u escape in string. at offset: 2"),
    (b'["ab\\ud83d"]', "The surrogate pair in string is invalid. at offset: 4"),
    (b'["\\ud83d\\u0041"]', "The surrogate pair in string is invalid. at offset: 2"),
    (b'["\\ud83d\\uzzzz"]', "Incorrect hex digit after \\u escape in string. at offset: 2"),
    (b"[1.]", "Miss fraction part in number. at offset: 3"),
    (b"[-0.x]", "Miss fraction part in number. at offset: 4"),
    (b"[1e]", "Miss exponent in number. at offset: 3"),
    (b"[1.5e+]", "Miss exponent in number. at offset: 6"),
    (b"[1E-", "Miss exponent in number. at offset: 4"),
    (b"[2, -1e309]", "Number too big to be stored in double. at offset: 4"),
    (b"[" + b"9" * 400 + b"]", "Number too big to be stored in double. at offset: 1"),
    (b"[" + b"9" * 5000 + b".5]", "Number too big to be stored in double. at offset: 1"),
    (b'\xef\xbb\xbf{"a": x}', "Invalid value. at offset: 9"),
    (b'{"caf\xc3\xa9": x}', "Invalid value. at offset: 10"),
]


@pytest.mark.parametrize(("body", "message"), BROKEN)
def test_a_broken_body_is_answered_as_by_rapidjson(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as error:
        json_document.parse(body)
    assert error.value.code is Code.INVALID_ARGUMENT
    assert error.value.message == f"JSON Parse error: {message}"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 1}),
        (b'{"a": {"b": 1, "b": 2}}', {"a": {"b": 1}}),
        (b'[[{"b": 1, "b": 2}]]', [[{"b": 1}]]),
        (b'{"a": [{"b": 1}, {"b": 2, "c": 0, "b": 3}]}', {"a": [{"b": 1}, {"b": 2, "c": 0}]}),
        (b"{} trailing [", {}),
        (b"{}\x00", {}),
        (b"\xef\xbb\xbf{}", {}),
        (b"\xefnull", None),
        (b" \t\r\n[ 1 , 2 ] ", [1, 2]),
        (b"[Inf, -Inf, Infinity, -Infinity]", [math.inf, -math.inf, math.inf, -math.inf]),
        (b'["\\u0041\\u00e9\\u20ac\\ud83d\\ude00", "a:b"]', ["Aé€😀", "a:b"]),
        (b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]', ['"\\/\b\f\n\r\t']),
        (b'["\\u0000"]', ["\0"]),
        (b'["\xff\xfe"]', ["\udcff\udcfe"]),
        (b'["\\udc80"]', ["\udced\udcb2\udc80"]),  # a lone low surrogate becomes its three bytes
        (b"[-0, 0, -0.0]", [0, 0, -0.0]),
        (b"[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        (b"[18446744073709551615, 18446744073709551616, -9223372036854775809]", [2**64 - 1, 2.0**64, -(2.0**63)]),
        (b"[1" + b"0" * 300 + b"]", [1e300]),
        (b"[1.0, 1e2, 1E+2, 12e-1, 1e-999]", [1.0, 100.0, 100.0, 1.2, 0.0]),
    ],
)
@pytest.mark.parametrize("read", [json_document.parse, json_reader.read])
def test_what_rapidjson_takes_is_taken(read: Any, body: bytes, value: Any) -> None:
    found = read(body)
    assert found == value
    assert repr(found) == repr(value)  # tells ints from floats, and -0.0 from 0.0


def test_nan_is_taken_with_either_sign() -> None:
    found = json_document.parse(b"[NaN, -NaN]")
    assert all(map(math.isnan, found))


def test_a_repeated_name_keeps_every_member_in_order() -> None:
    found = json_document.parse(b'{"b": 1, "a": 2, "b": 3}')
    assert list(found) == ["b", "a"]
    assert found.pairs == [("b", 1), ("a", 2), ("b", 3)]


@given(DOCUMENTS, st.booleans())
def test_every_way_in_reads_the_same(document: Any, ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        exact = json_reader.read(body)
    except ServingError as e:
        with pytest.raises(ServingError, match=".*") as error:
            json_document.parse(body)
        assert error.value.message == e.message
    else:
        assert repr(json_document.parse(body)) == repr(exact)


@given(DOCUMENTS)
def test_what_json_dumps_is_read_back(document: Any) -> None:
    text = json.dumps(document)
    if "\\ud" not in text:
        assert repr(json_reader.read(text.encode())) == repr(json.loads(text))


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789.eE+-\\/untrflasNI \n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_alike(body: bytes) -> None:
    results = []
    for read in (json_document.parse, json_reader.read):
        try:
            results.append(repr(read(body)))
        except ServingError as e:
            results.append(f"{e.code.name} {e.message}")
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_half_a_million_levels_are_read(brackets: tuple[bytes, bytes]) -> None:
    begin, end = brackets
    inner = begin * 500_000 + (b"1" if begin != b"[" else b"") + end * 500_000
    assert json_document.request_object(b'{"instances": [1], "nested": ' + inner + b"}")["instances"] == [1]


def test_beyond_all_sense_nesting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_reader, "MAX_DEPTH", 2000)
    assert json_document.parse(b"[" * 2000 + b"]" * 2000)
    with pytest.raises(ServingError, match="Values must not be nested deeper than 2000 levels. at offset: 2000"):
        json_document.parse(b"[" * 2001 + b"]" * 2001)


def test_reading_gives_up_at_its_deadline() -> None:
    body = b"[" + b"1," * 100_000 + b"}"
    with pytest.raises(ServingError) as error:
        json_document.parse(body, deadline=time.monotonic() - 1)
    assert error.value.code is Code.DEADLINE_EXCEEDED
    with pytest.raises(ServingError, match="Invalid value. at offset: 200001"):
        json_document.parse(body, deadline=time.monotonic() + 1000)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 300_000,
        b'{"' + b"\\" * 300_000,
        b'["' + b"\\u0041" * 100_000,
        b"[" + b"1," * 200_000,
        b"[" + b"1" * 300_000,
        b'{"a":1,' * 300_000,
        b" " * 2_000_000,
    ],
    ids=lambda body: repr(body[:6]),
)
def test_hostile_bodies_are_refused_in_bounded_time(body: bytes) -> None:
    # Were any of them read in quadratic time, this would not end.
    with pytest.raises(ServingError, match="JSON Parse error"):
        json_document.parse(body)


def test_an_empty_body_has_a_message_of_its_own() -> None:
    with pytest.raises(ServingError) as error:
        json_document.request_object(b"")
    assert error.value.message == "JSON Parse error: The document is empty"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[1, 2.5, null, true]", "JSON Value: [1, 2.5, null, true] Is not object"),
        (b'"a\\"\\u0001"', 'JSON Value: "a\\"\\u0001" Is not object'),
        (b"5 x", "JSON Value: 5 Is not object"),
        (b"NaN", "JSON Value:  Is not object"),
    ],
)
def test_a_request_must_be_an_object(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as error:
        json_document.request_object(body)
    assert error.value.message == message


def test_the_signature_name_must_be_a_string() -> None:
    assert json_document.signature_name({}) == ""
    assert json_document.signature_name({"signature_name": "s"}) == "s"
    with pytest.raises(ServingError) as error:
        json_document.signature_name({"signature_name": 5, "instances": [[1], {"b": "c"}]})
    assert error.value.message == (
        "JSON Value: {\n"
        '    "signature_name": 5,\n'
        '    "instances": [[1], {\n'
        '            "b": "c"\n'
        "        }]\n"
        "} not formatted correctly. 'signature_name' key must be a string value."
    )
