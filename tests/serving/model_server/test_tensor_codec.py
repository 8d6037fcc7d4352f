"""TensorProtos to arrays and back, held against TensorFlow's own conversion."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.model_server import tensor_types
from serving.model_server.errors import Code, ServingError
from serving.model_server.tensor_codec import fill_tensor, tensor_bytes, to_array

_PLAIN = [
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "complex64",
    "complex128",
]
_QUANTIZED = {"qint8": np.int8, "quint8": np.uint8, "qint16": np.int16, "quint16": np.uint16, "qint32": np.int32}
_SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def _arrays(draw: st.DrawFn) -> np.ndarray:
    """Arrays of every type that a tensor can be sent in."""
    shape = draw(_SHAPES)
    name = draw(st.sampled_from([*_PLAIN, *_QUANTIZED, "bfloat16", "string"]))
    if name == "string":
        size = int(np.prod(shape))
        values = np.empty(size, object)
        values[:] = draw(st.lists(st.binary(max_size=200), min_size=size, max_size=size))
        return values.reshape(shape)
    if name == "bfloat16":
        return draw(hnp.arrays(np.uint16, shape)).view(ml_dtypes.bfloat16)
    if name in _QUANTIZED:
        return draw(hnp.arrays(_QUANTIZED[name], shape)).view(np.dtype([(name, _QUANTIZED[name])]))
    return draw(hnp.arrays(np.dtype(name), shape))


def _same(got: np.ndarray, wanted: np.ndarray) -> bool:
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return False
    # By bytes: NaNs have to come back as they were.
    return bool((got == wanted).all()) if got.dtype == object else got.tobytes() == wanted.tobytes()


@given(array=_arrays(), as_content=st.booleans())
@settings(max_examples=500, deadline=None)
def test_what_is_written_is_read_again(array: np.ndarray, as_content: bool) -> None:
    proto = tensor_pb2.TensorProto()
    fill_tensor(proto, array, as_content)
    assert _same(to_array(proto), array)
    assert bool(proto.tensor_content) == (as_content and array.size > 0)


@given(array=_arrays(), as_content=st.booleans())
@settings(max_examples=300, deadline=None)
def test_tensorflow_reads_what_is_written(array: np.ndarray, as_content: bool) -> None:
    proto = tensor_pb2.TensorProto.FromString(tensor_bytes(array, as_content))
    if array.dtype == object and as_content:
        return  # tf.make_ndarray does not read strings in tensor_content; TensorFlow's kernels do, see below.
    if array.dtype.names and not as_content:
        return  # tf.make_ndarray cannot fill structures from int_val.
    assert _same(tf.make_ndarray(proto), array)


@given(array=_arrays())
@settings(max_examples=300, deadline=None)
def test_what_tensorflow_writes_is_read(array: np.ndarray) -> None:
    assert _same(to_array(tf.make_tensor_proto(array)), array)


def test_strings_in_content_are_those_of_the_runtime() -> None:
    # The graph's constants go through the C++ code that the real server reads requests with.
    words = np.array([[b"a", b""], [b"\xff\x00", b"x" * 300]], object)
    proto = tensor_pb2.TensorProto()
    fill_tensor(proto, words, as_content=True)
    with tf.Graph().as_default() as graph:
        node = graph.as_graph_def().node.add(op="Const", name="c")
        node.attr["dtype"].type = types_pb2.DT_STRING
        node.attr["value"].tensor.CopyFrom(proto)
        definition = tf.compat.v1.GraphDef(node=[node])
        (out,) = tf.import_graph_def(definition, return_elements=["c:0"])
        with tf.compat.v1.Session(graph=graph) as session:
            assert _same(session.run(out), words)


def test_an_answer_has_all_values_in_the_typed_field() -> None:
    proto = tensor_pb2.TensorProto()
    fill_tensor(proto, np.ones((2, 2), np.float32))
    assert list(proto.float_val) == [1.0] * 4
    assert proto.tensor_content == b""
    assert [d.size for d in proto.tensor_shape.dim] == [2, 2]


def test_a_scalar_has_a_shape_without_sizes() -> None:
    proto = tensor_pb2.TensorProto.FromString(tensor_bytes(np.array(2.5, np.float32)))
    assert proto.HasField("tensor_shape")
    assert list(proto.tensor_shape.dim) == []
    assert to_array(proto).shape == ()


def test_texts_are_written_as_utf8() -> None:
    proto = tensor_pb2.TensorProto()
    fill_tensor(proto, np.array(["é", "z"]))
    assert list(proto.string_val) == ["é".encode(), b"z"]


def test_an_array_that_is_not_contiguous_is_written_in_its_own_order() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3).T
    for as_content in (False, True):
        proto = tensor_pb2.TensorProto.FromString(tensor_bytes(array, as_content))
        assert _same(to_array(proto), np.ascontiguousarray(array))


def test_many_large_integers() -> None:
    array = np.arange(-100_000, 100_000, dtype=np.int64) * 2**40
    proto = tensor_pb2.TensorProto.FromString(tensor_bytes(array))
    assert np.array_equal(to_array(proto), array)


def test_an_array_of_a_type_that_tensorflow_lacks_is_an_error() -> None:
    with pytest.raises(ServingError) as caught:
        tensor_bytes(np.array(["2026-01-01"], "datetime64[D]"))
    assert caught.value.code == Code.INTERNAL


# Requests need not be as tidy as answers.


def _proto(dtype: int, shape: list[int], **fields: object) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("proto", "wanted"),
    [
        (_proto(types_pb2.DT_FLOAT, [3], float_val=[1.0, 2.0]), np.float32([1, 2, 2])),
        (_proto(types_pb2.DT_FLOAT, [2, 2], float_val=[7.0]), np.full((2, 2), 7, np.float32)),
        (_proto(types_pb2.DT_FLOAT, [2], float_val=[1.0, 2.0, 3.0]), np.float32([1, 2])),
        (_proto(types_pb2.DT_FLOAT, [2]), np.zeros(2, np.float32)),
        (_proto(types_pb2.DT_BOOL, [2], bool_val=[True]), np.array([True, True])),
        (_proto(types_pb2.DT_HALF, [2], half_val=[0x3C00]), np.float16([1, 1])),
        (_proto(types_pb2.DT_BFLOAT16, [1], half_val=[0x3F80]), np.array([1], ml_dtypes.bfloat16)),
        (_proto(types_pb2.DT_COMPLEX64, [2], scomplex_val=[1.0, 2.0]), np.complex64([1 + 2j, 1 + 2j])),
        (_proto(types_pb2.DT_COMPLEX64, [2], scomplex_val=[1.0]), np.zeros(2, np.complex64)),
        (_proto(types_pb2.DT_COMPLEX128, [1], dcomplex_val=[1.0, 2.0]), np.complex128([1 + 2j])),
        (_proto(types_pb2.DT_STRING, [3], string_val=[b"a", b"b"]), np.array([b"a", b"b", b"b"], object)),
        (_proto(types_pb2.DT_STRING, [2]), np.array([b"", b""], object)),
        (_proto(types_pb2.DT_UINT8, [1], int_val=[257]), np.uint8([1])),
        (_proto(types_pb2.DT_INT8, [1], int_val=[-129]), np.int8([127])),
        (_proto(types_pb2.DT_UINT64, [1], uint64_val=[2**64 - 1]), np.uint64([2**64 - 1])),
        (_proto(types_pb2.DT_UINT32, [1], uint32_val=[2**32 - 1]), np.uint32([2**32 - 1])),
        (_proto(types_pb2.DT_FLOAT, [0, 3]), np.zeros((0, 3), np.float32)),
        (_proto(types_pb2.DT_FLOAT, [0], tensor_content=b"what is here does not matter"), np.zeros(0, np.float32)),
        (_proto(types_pb2.DT_FLOAT, [], float_val=[4.0]), np.array(4, np.float32)),
        (_proto(types_pb2.DT_BOOL, [3], tensor_content=b"\x00\x01\x02"), np.array([False, True, True])),
        # tensor_content goes first, as in TensorFlow.
        (_proto(types_pb2.DT_INT32, [1], tensor_content=b"\x05\0\0\0", int_val=[9]), np.int32([5])),
    ],
    ids=lambda value: "" if isinstance(value, np.ndarray) else types_pb2.DataType.Name(value.dtype),
)
def test_untidy_tensors_are_read_as_tensorflow_reads_them(proto: tensor_pb2.TensorProto, wanted: np.ndarray) -> None:
    assert _same(to_array(proto), wanted)


@pytest.mark.parametrize(
    "proto",
    [
        _proto(types_pb2.DT_INVALID, [1]),
        _proto(types_pb2.DT_RESOURCE, [1]),
        _proto(types_pb2.DT_VARIANT, [1]),
        _proto(types_pb2.DT_FLOAT_REF, [1], float_val=[1.0]),
        _proto(99, [1]),
        _proto(types_pb2.DT_FLOAT, [-1], float_val=[1.0]),
        _proto(types_pb2.DT_FLOAT, [2, -3], float_val=[1.0]),
        _proto(types_pb2.DT_FLOAT, [-1, -1], float_val=[1.0]),
        _proto(types_pb2.DT_FLOAT, [2**62], float_val=[1.0]),
        _proto(types_pb2.DT_FLOAT, [2**40, 2**40], float_val=[1.0]),
        _proto(types_pb2.DT_FLOAT, [2**31, 2**31, 4]),
        _proto(types_pb2.DT_FLOAT, [2**40, 2**40, 0]),
        _proto(types_pb2.DT_STRING, [2**30], string_val=[b"x"]),
        _proto(types_pb2.DT_STRING, [2**30], tensor_content=b"\x01x"),
        _proto(types_pb2.DT_FLOAT, [1] * 300, float_val=[1.0]),
        _proto(types_pb2.DT_FLOAT, [2], tensor_content=b"\0" * 7),
        _proto(types_pb2.DT_FLOAT, [2], tensor_content=b"\0" * 9),
        _proto(types_pb2.DT_FLOAT, [1], tensor_content=b"\0" * 8),
        _proto(types_pb2.DT_STRING, [1], tensor_content=b"\x05abc"),
        _proto(types_pb2.DT_STRING, [1], tensor_content=b"\x01abc"),
        _proto(types_pb2.DT_STRING, [2], tensor_content=b"\x80\x80"),
        _proto(types_pb2.DT_STRING, [1], tensor_content=b"\xff\xff\xff\xff\xff\xff\xff\x01"),
        tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape={"unknown_rank": True}, float_val=[1.0]),
    ],
    ids=lambda proto: f"{proto.dtype}-{len(proto.tensor_content)}-{[d.size for d in proto.tensor_shape.dim][:3]}",
)
def test_hostile_tensors_are_refused_at_once(proto: tensor_pb2.TensorProto) -> None:
    with pytest.raises(ServingError) as caught:
        to_array(proto)
    assert caught.value.code == Code.INVALID_ARGUMENT


def test_how_much_is_filled_up_is_limited_and_what_is_sent_is_not() -> None:
    million = 1 << 20
    filled = _proto(types_pb2.DT_FLOAT, [million], float_val=[1.0])
    with pytest.raises(ServingError, match="at most 1048576 bytes"):
        to_array(filled, max_filled_bytes=million)
    assert to_array(filled, max_filled_bytes=4 * million).shape == (million,)
    sent = _proto(types_pb2.DT_FLOAT, [million], tensor_content=bytes(4 * million))
    assert to_array(sent, max_filled_bytes=1).shape == (million,)


@given(raw=st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_tensor_or_an_error(raw: bytes) -> None:
    try:
        proto = tensor_pb2.TensorProto.FromString(raw)
    except Exception:
        return
    try:
        array = to_array(proto)
    except ServingError as e:
        assert e.code == Code.INVALID_ARGUMENT
    else:
        assert array.shape == tuple(d.size for d in proto.tensor_shape.dim)


@given(
    dtype=st.sampled_from([*range(0, 35), 101]),
    shape=st.lists(st.integers(-3, 6) | st.integers(-(2**63), 2**63 - 1), max_size=5),
    content=st.binary(max_size=64),
    floats=st.lists(st.floats(width=32), max_size=9),
    strings=st.lists(st.binary(max_size=4), max_size=9),
    ints=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9),
)
@settings(max_examples=500, deadline=None)
def test_any_tensor_is_read_or_refused(
    dtype: int, shape: list[int], content: bytes, floats: list[float], strings: list[bytes], ints: list[int]
) -> None:
    proto = _proto(
        dtype, shape, tensor_content=content, float_val=floats, string_val=strings, int_val=ints, half_val=ints
    )
    try:
        array = to_array(proto)
    except ServingError as e:
        assert e.code == Code.INVALID_ARGUMENT
        return
    kind = tensor_types.by_number(dtype)
    assert kind is not None
    assert array.dtype == kind.dtype
    assert list(array.shape) == shape


def test_every_type_has_the_number_that_tensorflow_gives_it() -> None:
    numbers = [n for n in types_pb2.DataType.values() if tensor_types.by_number(n)]
    assert len(numbers) == 21
    for number in numbers:
        kind = tensor_types.by_number(number)
        assert kind is not None
        dtype = tf.dtypes.as_dtype(number)
        name = {"float16": "half"}.get(kind.name, kind.name)
        assert dtype.name in (kind.name, name)
        assert np.dtype(dtype.as_numpy_dtype) == kind.dtype
        assert tensor_types.proto_name(kind.dtype) == types_pb2.DataType.Name(number)
        assert tensor_types.by_name(dtype.name) is kind
