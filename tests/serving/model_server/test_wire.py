"""Protocol buffers' wire format by hand, held against the protobuf library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from serving.model_server.wire import delimited, fields, varint, varints


@given(value=st.integers(0, 2**64 - 1))
def test_a_varint_is_what_protobuf_reads(value: int) -> None:
    proto = tensor_pb2.TensorProto.FromString(delimited(17, varint(value)))
    assert list(proto.uint64_val) == [value]


@given(
    values=hnp.arrays(
        st.sampled_from([np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]),
        st.integers(0, 30),
    )
)
@settings(max_examples=300)
def test_varints_are_what_protobuf_reads(values: np.ndarray) -> None:
    if values.dtype.kind == "i":
        assert list(tensor_pb2.TensorProto.FromString(delimited(10, varints(values))).int64_val) == values.tolist()
    else:
        assert list(tensor_pb2.TensorProto.FromString(delimited(17, varints(values))).uint64_val) == values.tolist()


def test_many_varints_are_those_of_each() -> None:
    values = np.arange(0, 70_000 * 1000, 1000)
    assert varints(values) == b"".join(varint(v) for v in values.tolist())


@given(content=st.binary(max_size=300), field=st.integers(1, 3000))
def test_fields_are_found_again(content: bytes, field: int) -> None:
    raw = b"\x08\x96\x01" + delimited(field, content) + b"\x15abcd" + b"\x19abcdefgh"
    found = [(number, kind, raw[start:end]) for number, kind, start, end in fields(raw, 0, len(raw))]
    assert found == [(1, 0, b"\x96\x01"), (field, 2, content), (2, 5, b"abcd"), (3, 1, b"abcdefgh")]


@pytest.mark.parametrize(
    "raw", [b"\x0a\x05ab", b"\x0a", b"\x08\x80", b"\x0d\x00", b"\x09\x00", b"\x0b", b"\x80" * 11, b"\x0f"]
)
def test_what_is_no_message_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        list(fields(raw, 0, len(raw)))


def test_fields_end_where_their_message_ends() -> None:
    raw = b"\x0a\x02ab" + b"\x0a\x02cd"
    assert [(start, end) for _, _, start, end in fields(raw, 0, 4)] == [(2, 4)]
    with pytest.raises(ValueError):
        list(fields(raw, 0, 3))


@given(raw=st.binary(max_size=60))
@settings(max_examples=500)
def test_any_bytes_are_fields_or_an_error(raw: bytes) -> None:
    try:
        ends = [end for *_, end in fields(raw, 0, len(raw))]
    except ValueError:
        return
    assert ends == sorted(ends)
    assert not ends or ends[-1] == len(raw)
