"""Requests that only look as if their values were all that changes: there is no plan, or it answers rightly."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.model_server.errors import ServingError
from serving.model_server.predict import predict_bytes
from serving.model_server.predict_plan import Plans
from tests.serving.model_server.planned import Echo, learn, parsed, request_of


def _raw(*entries: bytes) -> bytes:
    """Returns a PredictRequest to `m` whose map entries are the given bytes."""
    raw = request_of({})
    for entry in entries:
        raw += b"\x12" + bytes([len(entry)]) + entry
    return raw


def _entry(tensor: bytes, key: bytes = b"\x0a\x01x") -> bytes:
    return key + b"\x12" + bytes([len(tensor)]) + tensor


# dtype float, shape [1]
_HEAD = b"\x08\x01\x12\x04\x12\x02\x08\x01"
_FLOAT = b"\x00\x00\x80\x3f"


@pytest.mark.parametrize(
    "raw",
    [
        _raw(_entry(_HEAD + b"\x2a\x04" + _FLOAT), _entry(_HEAD + b"\x2a\x04" + _FLOAT)),
        _raw(_entry(_HEAD + b"\x2a\x04" + _FLOAT) + b"\x12\x00"),
        _raw(_entry(_HEAD + b"\x2a\x04" + _FLOAT) + b"\x0a\x01x"),
        _raw(_entry(_HEAD + b"\x2a\x04" + _FLOAT + b"\x2a\x04" + _FLOAT)),
        _raw(_entry(_HEAD + b"\x2a\x04" + _FLOAT + b"\x22\x04" + _FLOAT)),
        _raw(_entry(_HEAD + b"\x2d" + _FLOAT)),
        # dtype bool, whose other bytes than 0 and 1 are not kept
        _raw(_entry(b"\x08\x0a\x12\x04\x12\x02\x08\x01\x22\x01\x01")),
        # dtype int8, tensor_content as a number: protocol buffers pass over it
        _raw(_entry(b"\x08\x06\x12\x04\x12\x02\x08\x01\x20\x00")),
        # one value filled up to two
        _raw(_entry(b"\x08\x01\x12\x04\x12\x02\x08\x02\x2a\x04" + _FLOAT)),
        # two values cut off to one
        _raw(_entry(_HEAD + b"\x2a\x08" + _FLOAT + _FLOAT)),
        # dtype int32, whose zeros are not those of float_val
        _raw(_entry(b"\x08\x03\x12\x04\x12\x02\x08\x01\x2a\x04" + bytes(4))),
        # dtype float, filled up with a zero, and a string
        _raw(_entry(b"\x08\x01\x12\x00\x42\x00")),
        # strings in tensor_content
        _raw(_entry(b"\x08\x07\x12\x04\x12\x02\x08\x01\x22\x02\x01a")),
    ],
    ids=[
        "key twice",
        "tensor twice",
        "key field twice",
        "values twice",
        "values and content",
        "unpacked",
        "bool",
        "number",
        "filled up",
        "cut off",
        "another type's values",
        "another type's string",
        "string list",
    ],
)
def test_what_is_not_its_bytes_alone_has_no_plan(raw: bytes) -> None:
    servable, plans = Echo("x"), Plans()
    learn(plans, raw, servable)
    assert servable.ran == 1
    assert plans.find(raw) is None


_TENSORS = st.builds(
    lambda dtype, shape, content, floats, doubles, strings, ints: tensor_pb2.TensorProto(
        dtype=dtype,
        tensor_shape={"dim": [{"size": s} for s in shape]},
        tensor_content=content,
        float_val=floats,
        double_val=doubles,
        string_val=strings,
        int_val=ints,
    ),
    st.sampled_from(
        [types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_STRING, types_pb2.DT_INT32, types_pb2.DT_BOOL]
    ),
    st.lists(st.integers(0, 3), max_size=2),
    st.binary(max_size=12) | st.just(b""),
    st.lists(st.floats(width=32), max_size=3),
    st.lists(st.floats(), max_size=2),
    st.lists(st.binary(max_size=3), max_size=2),
    st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 200), max_size=2),
)


@given(
    tensors=st.dictionaries(st.sampled_from(["x", "y"]), _TENSORS, min_size=1),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
)
@settings(max_examples=600, deadline=None)
def test_any_request_by_a_plan_or_without(
    tensors: dict[str, tensor_pb2.TensorProto], changes: list[tuple[int, int]]
) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    for key, tensor in tensors.items():
        request.inputs[key].CopyFrom(tensor)
    raw = request.SerializeToString()
    servable, plans = Echo(*tensors), Plans()
    try:
        learn(plans, raw, servable)
    except ServingError:
        return
    changed = bytearray(raw)
    for place, value in changes:
        changed[place % len(changed)] = value
    raw = bytes(changed)
    plan = plans.find(raw)
    if plan is None:
        return
    try:
        wanted = parsed(predict_bytes(servable, predict_pb2.PredictRequest.FromString(raw)))
    except (DecodeError, ServingError) as e:
        raise AssertionError("a plan fits a request that cannot be answered") from e
    for _ in range(2):
        answer = plan.answer(servable, as_content=False)
        assert answer is not None
        # By bytes: NaNs are not equal to themselves.
        assert parsed(answer).SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)
