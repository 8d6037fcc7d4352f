"""Plans: an answer by a plan is the answer without one, whatever the request."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.model_server.errors import ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.model_spec import query_of, spec_of
from serving.model_server.predict import predict_bytes
from serving.model_server.predict_plan import Plans
from serving.model_server.tensor_codec import fill_tensor
from serving.v1_loader import Signature, TensorInfo
from tests.serving.model_server.grpc_asking import predict_request


class Echo:
    """A model that answers each input under its own name."""

    name = "m"

    def __init__(self, *keys: str, version: int = 1) -> None:
        self.version = version
        tensors = {key: TensorInfo(f"{key}:0", "float32", None) for key in keys}
        self.signatures = {"serving_default": Signature("serving_default", "", tensors, tensors, {})}
        self.ran = 0

    def run(self, _: Signature, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        self.ran += 1
        return [feeds[key] for key in fetches]


def learn(plans: Plans, raw: bytes, servable: Any) -> None:
    request = predict_pb2.PredictRequest.FromString(raw)
    predict_bytes(servable, request)
    plans.learn(raw, request, query_of(spec_of(request)), servable)


def parsed(raw: bytes) -> predict_pb2.PredictResponse:
    return predict_pb2.PredictResponse.FromString(raw)


def request_of(inputs: Mapping[str, Any], signature: str = "") -> bytes:
    return predict_request("m", signature, **inputs).SerializeToString()


_ONE = {
    "float in tensor_content": (np.float32([[1, 2, 3]]), np.float32([[4, np.nan, 6]])),
    "int in tensor_content": (np.int64([1, 2]), np.int64([-3, 4])),
    "a float alone": (np.float32([1.5]), np.float32([2.5])),
    "a double alone": (np.float64(1.5), np.float64(2.5)),
    "complex": (np.complex64([1j]), np.complex64([2])),
    "a string": (np.array([b"abc"], object), np.array([b"x\0\xff"], object)),
    "half": (np.float16([1, 2]), np.float16([3, 4])),
}


@pytest.mark.parametrize("kind", _ONE)
@pytest.mark.parametrize("as_content", [False, True])
def test_a_later_request_of_the_same_form_needs_no_parsing(kind: str, as_content: bool) -> None:
    first, second = _ONE[kind]
    servable, plans = Echo("x"), Plans()
    raw = request_of({"x": second})
    assert plans.find(raw) is None
    learn(plans, request_of({"x": first}), servable)
    plan = plans.find(raw)
    assert plan is not None
    assert plan.query == ModelSpecQuery("m")
    request = predict_pb2.PredictRequest.FromString(raw)
    # Twice: the first answer makes the frame of the second.
    for _ in range(2):
        answer = plan.answer(servable, raw, as_content=as_content)
        assert answer is not None
        wanted = predict_bytes(servable, request, as_content=as_content)
        assert parsed(answer).SerializeToString(deterministic=True) == parsed(wanted).SerializeToString(
            deterministic=True
        )


def test_several_inputs_and_a_filter() -> None:
    servable, plans = Echo("a", "b", "c"), Plans()
    messages = []
    for n in range(2):
        request = predict_request("m", a=np.float32([n, 1]), b=np.array([b"s%d" % n], object), c=np.float64([n]))
        request.output_filter.extend(["c", "a"])
        messages.append(request)
    # The order of a map's entries is nobody's promise: that of the second is made that of the first.
    raws = [m.SerializeToString(deterministic=True) for m in messages]
    learn(plans, raws[0], servable)
    plan = plans.find(raws[1])
    assert plan is not None
    answer = plan.answer(servable, raws[1], as_content=False)
    assert answer is not None
    response = parsed(answer)
    assert set(response.outputs) == {"a", "c"}
    assert list(response.outputs["a"].float_val) == [1, 1]
    assert list(response.outputs["c"].double_val) == [1]


def test_an_answer_of_another_shape_or_type_has_its_own_frame() -> None:
    servable, plans = Echo("x"), Plans()
    raw = request_of({"x": np.float32([1, 2])})
    learn(plans, raw, servable)
    plan = plans.find(raw)
    assert plan is not None
    for output in (
        np.float32([[1], [2], [3]]),
        np.float64([1]),
        np.zeros((0, 2), np.float32),
        np.int64([-1, 300]),
        np.array([b"a"], object),
        np.float32(7).reshape(()),
        np.float32([[1, 2], [3, 4]]).T,
        np.float32([5]),
    ):
        servable.run = lambda *_, output=output: [output]  # type: ignore[method-assign, misc]
        for _ in range(2):
            answer = plan.answer(servable, raw, as_content=False)
            assert answer is not None
            wanted = tensor_pb2.TensorProto()
            fill_tensor(wanted, np.asarray(output))
            assert parsed(answer).outputs["x"] == wanted


def test_rows_are_checked_and_runs_are_told() -> None:
    servable, plans = Echo("x"), Plans()
    raw = request_of({"x": np.float32([[1], [2], [3]])})
    learn(plans, raw, servable)
    plan = plans.find(raw)
    assert plan is not None
    rows: list[int] = []
    seconds: list[float] = []
    plan.answer(servable, raw, as_content=False, check_rows=rows.append, observe_run=seconds.append)
    assert rows == [3]
    assert len(seconds) == 1


def test_a_plan_answers_by_the_servables_that_it_knows() -> None:
    old, new, other = Echo("x"), Echo("x", version=2), Echo("y", version=3)
    plans = Plans()
    raw = request_of({"x": np.float32([1])})
    learn(plans, raw, old)
    plan = plans.find(raw)
    assert plan is not None
    assert plan.answer(new, raw, as_content=False) is None
    plan.bind(new)
    plan.bind(other)
    assert plan.answer(other, raw, as_content=False) is None
    versions = [parsed(plan.answer(s, raw, as_content=False) or b"").model_spec.version.value for s in (old, new)]
    assert versions == [1, 2]


def test_a_servable_in_anothers_place_is_not_taken_for_it() -> None:
    old, new = Echo("x"), Echo("x", version=2)
    plans = Plans()
    raw = request_of({"x": np.float32([1])})
    learn(plans, raw, old)
    plan = plans.find(raw)
    assert plan is not None
    # As when the old one is gone and the new one has got its address.
    plan._bindings[id(new)] = plan._bindings.pop(id(old))
    assert plan.answer(new, raw, as_content=False) is None


def test_a_plan_keeps_no_servable_alive() -> None:
    servable, plans = Echo("x"), Plans()
    raw = request_of({"x": np.float32([1])})
    learn(plans, raw, servable)
    gone = weakref.ref(servable)
    del servable
    gc.collect()
    assert gone() is None


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


def test_a_long_frame_has_no_plan_and_long_values_have() -> None:
    plans = Plans()
    long = "k" * 5000
    learn(plans, request_of({long: np.float32([1])}), Echo(long))
    assert plans.find(request_of({long: np.float32([1])})) is None
    content = np.zeros(5000, np.float32)
    learn(plans, request_of({"x": content}), Echo("x"))
    assert plans.find(request_of({"x": content + 1})) is not None


def test_requests_that_never_repeat_are_not_learned_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.model_server import predict_plan

    made: list[int] = []
    original = predict_plan._plan
    monkeypatch.setattr(predict_plan, "_plan", lambda *args: made.append(1) or original(*args))
    servable, plans = Echo("x"), Plans()
    for n in range(1000):
        # An int in a typed field is part of the frame.
        learn(plans, request_of({"x": np.int64(2**40 + n)}), servable)
    assert 8 <= len(made) <= 30
    assert sum(len(found) for found in plans._lengths.values()) <= 4


def test_the_number_of_plans_is_limited() -> None:
    servable, plans = Echo("x"), Plans()
    for n in range(1200):
        learn(plans, request_of({"x": np.array([b"a" * n], object)}), servable)
    assert len(plans._lengths) <= 512
    assert plans.find(request_of({"x": np.array([b"b" * 1199], object)})) is not None


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
    st.lists(st.integers(0, 200), max_size=2),
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
        answer = plan.answer(servable, raw, as_content=False)
        assert answer is not None
        # By bytes: NaNs are not equal to themselves.
        assert parsed(answer).SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)


def test_a_real_model_answers_by_a_plan(toy_manager: Manager) -> None:
    plans = Plans()
    with toy_manager.acquire(ModelSpecQuery("toy")) as lease:
        servable = lease.servable
        learn(plans, predict_request(x=np.float32([1, 2])).SerializeToString(), servable)
        raw = predict_request(x=np.float32([3, 4])).SerializeToString()
        plan = plans.find(raw)
        assert plan is not None
        answer = plan.answer(servable, raw, as_content=False)
    assert answer is not None
    assert list(parsed(answer).outputs["y"].float_val) == [3.5, 4.0]
