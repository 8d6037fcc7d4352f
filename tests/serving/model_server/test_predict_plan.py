"""Plans: an answer by a plan is the answer without one, whatever the request."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.predict import predict_bytes
from serving.model_server.predict_plan import Plans
from serving.model_server.tensor_codec import fill_tensor
from tests.serving.model_server.grpc_asking import predict_request
from tests.serving.model_server.planned import Echo, learn, parsed, request_of

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
    assert plan.plan.query == ModelSpecQuery("m")
    request = predict_pb2.PredictRequest.FromString(raw)
    # Twice: the first answer makes the frame of the second.
    for _ in range(2):
        answer = plan.answer(servable, as_content=as_content)
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
    answer = plan.answer(servable, as_content=False)
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
            answer = plan.answer(servable, as_content=False)
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
    plan.answer(servable, as_content=False, check_rows=rows.append, observe_run=seconds.append)
    assert rows == [3]
    assert len(seconds) == 1


def test_a_plan_answers_by_the_servables_that_it_knows() -> None:
    old, new, other = Echo("x"), Echo("x", version=2), Echo("y", version=3)
    plans = Plans()
    raw = request_of({"x": np.float32([1])})
    learn(plans, raw, old)
    plan = plans.find(raw)
    assert plan is not None
    assert plan.answer(new, as_content=False) is None
    plan.plan.bind(new)
    plan.plan.bind(other)
    assert plan.answer(other, as_content=False) is None
    versions = [parsed(plan.answer(s, as_content=False) or b"").model_spec.version.value for s in (old, new)]
    assert versions == [1, 2]


def test_a_servable_in_anothers_place_is_not_taken_for_it() -> None:
    old, new = Echo("x"), Echo("x", version=2)
    plans = Plans()
    raw = request_of({"x": np.float32([1])})
    learn(plans, raw, old)
    plan = plans.find(raw)
    assert plan is not None
    # As when the old one is gone and the new one has got its address.
    plan.plan._bindings[id(new)] = plan.plan._bindings.pop(id(old))
    assert plan.answer(new, as_content=False) is None


def test_a_plan_keeps_no_servable_alive() -> None:
    servable, plans = Echo("x"), Plans()
    raw = request_of({"x": np.float32([1])})
    learn(plans, raw, servable)
    gone = weakref.ref(servable)
    del servable
    gc.collect()
    assert gone() is None


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
    original = predict_plan.frame_of
    monkeypatch.setattr(predict_plan, "frame_of", lambda *args: made.append(1) or original(*args))
    servable, plans = Echo("x"), Plans()
    for n in range(520, 1000):
        learn(plans, request_of({"x": np.zeros(n, np.float32)}), servable)
    assert 16 <= len(made) <= 30
    assert sum(len(found) for found in plans._sizes.values()) <= 8


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_an_integer_alone_is_read_whatever_its_length(dtype: type) -> None:
    servable, plans = Echo("x", "y"), Plans()
    learn(plans, request_of({"x": np.array([5], dtype), "y": np.array([b"five"], object)}), servable)
    limits = np.iinfo(dtype)
    for number in (0, 1, -1, 127, 128, 300, 2**31 - 1, -(2**31), int(limits.max), int(limits.min)):
        for text in (b"", b"a", b"t" * 200, b"t" * 20_000):
            raw = request_of({"x": np.array([number], dtype), "y": np.array([text], object)})
            planned = Plans()
            planned._sizes = {len(raw).bit_length(): plans._sizes[next(iter(plans._sizes))]}
            found = planned.find(raw)
            assert found is not None
            arrays = found.plan.frame.arrays([found.values])
            assert arrays["x"].dtype == dtype
            assert arrays["x"].tolist() == [number]
            assert arrays["y"].tolist() == [text]


def test_a_real_model_answers_by_a_plan(toy_manager: Manager) -> None:
    plans = Plans()
    with toy_manager.acquire(ModelSpecQuery("toy")) as lease:
        servable = lease.servable
        learn(plans, predict_request(x=np.float32([1, 2])).SerializeToString(), servable)
        raw = predict_request(x=np.float32([3, 4])).SerializeToString()
        plan = plans.find(raw)
        assert plan is not None
        answer = plan.answer(servable, as_content=False)
    assert answer is not None
    assert list(parsed(answer).outputs["y"].float_val) == [3.5, 4.0]


def _texts(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize("as_content", [False, True])
def test_outputs_whose_length_depends_on_their_values_are_answered_as_they_are(as_content: bool) -> None:
    servable, plans = Echo("x", "classes"), Plans()
    raw = request_of({"x": np.float32([1]), "classes": _texts(b"")})
    learn(plans, raw, servable)
    plan = plans.find(raw)
    assert plan is not None
    for n in (*range(300), 0, 299, 7):
        outputs = {"x": np.int64([n]), "classes": _texts(b"%d" % n, b"\xff" * n)}
        servable.run = lambda _, feeds, fetches, outputs=outputs: [outputs[key] for key in fetches]  # type: ignore[method-assign, misc]
        answer = plan.answer(servable, as_content=as_content)
        assert answer is not None
        for key, output in outputs.items():
            wanted = tensor_pb2.TensorProto()
            fill_tensor(wanted, output, as_content)
            assert parsed(answer).outputs[key] == wanted


def test_what_is_kept_of_answers_is_bounded() -> None:
    servable, plans = Echo("x"), Plans()
    raw = request_of({"x": np.float32([1])})
    learn(plans, raw, servable)
    plan = plans.find(raw)
    assert plan is not None
    for n in range(1000):
        for output in (_texts(b"%d" % n), _texts(b"x" * 5000)):
            servable.run = lambda *_, output=output: [output]  # type: ignore[method-assign, misc]
            assert plan.answer(servable, as_content=False) is not None
    binding = plan.plan.binding(servable)
    assert binding is not None and binding.answer is not None
    (slot,) = binding.answer.slots
    assert len(slot.entries) == 256
    assert max(map(len, slot.entries.values())) < 100
