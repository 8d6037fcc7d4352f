"""Columns that are left out or hashed, wherever they are in a message."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import numpy as np
import pytest

from serving import messages
from serving.capture.redaction import Redaction
from serving.model_server.tensor_codec import to_array
from tests.serving.capture.exchanges import example, predict_request, predict_response, strings

REDACTION = Redaction(["phone"], ["name", "age", "income"], "key")


def _hash(text: str) -> bytes:
    return hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest().encode()


def _inputs(serialized: bytes) -> dict[str, Any]:
    request = messages.PredictRequest.FromString(REDACTION.request("Predict", serialized))
    return {key: to_array(tensor) for key, tensor in request.inputs.items()}


def test_tensors_by_name() -> None:
    found = _inputs(
        predict_request(
            phone=strings("0123", "0124"),
            name=strings("Ada", ""),
            age=np.array([36, np.iinfo(np.int64).min]),
            income=np.array([0.1, np.nan], np.float32),
            fare=np.array([1.5, 2.5], np.float32),
        )
    )
    assert {key: value.tolist() for key, value in found.items()} == {
        "name": [_hash("Ada"), b""],
        "age": [_hash("36"), b""],
        "income": [_hash("0.1"), b""],
        "fare": [1.5, 2.5],
    }


def test_the_rest_of_a_request_stays() -> None:
    request = messages.PredictRequest.FromString(predict_request(phone=strings("1"), fare=np.float32([1])))
    request.output_filter.append("scores")
    request.model_spec.version.value = 3
    after = messages.PredictRequest.FromString(REDACTION.request("Predict", request.SerializeToString()))
    del request.inputs["phone"]
    assert after == request


@pytest.mark.parametrize("key", ["examples", "inputs", "serialized"])
@pytest.mark.parametrize("as_content", [False, True])
def test_examples_in_a_tensor(key: str, as_content: bool) -> None:
    given = [
        example(phone=["0123"], name=["Ada"], age=[36], income=[0.1], fare=[1.5]).SerializeToString(),
        example(fare=[2.5]).SerializeToString(),
    ]
    request = messages.PredictRequest()
    tensor = request.inputs[key]
    tensor.dtype = messages.DATA_TYPES["DT_STRING"]
    tensor.tensor_shape.dim.add(size=2)
    if as_content:
        tensor.tensor_content = bytes(map(len, given)) + b"".join(given)
    else:
        tensor.string_val.extend(given)
    first, second = (messages.Example.FromString(value) for value in _inputs(request.SerializeToString())[key])
    hashed = {name: [_hash(text).decode()] for name, text in (("name", "Ada"), ("age", "36"), ("income", "0.1"))}
    assert first == example(**hashed, fare=[1.5])
    assert second == example(fare=[2.5])


def test_a_text_that_mentions_a_column_stays_and_an_example_that_cannot_be_read_does_not() -> None:
    found = _inputs(predict_request(review=strings("my phone rings"), examples=strings("phone \xff 0123", "other")))
    assert found["review"].tolist() == [b"my phone rings"]
    assert found["examples"].tolist() == [b"", b"other"]


def test_a_tensor_that_cannot_be_read_is_left_out() -> None:
    request = messages.PredictRequest.FromString(predict_request(name=strings("Ada")))
    request.inputs["name"].tensor_shape.dim[0].size = -1
    assert _inputs(request.SerializeToString()) == {}


@pytest.mark.parametrize("entrypoint", ["Classify", "Regress", "MultiInference"])
@pytest.mark.parametrize("context", [False, True])
def test_examples_of_the_other_methods(entrypoint: str, context: bool) -> None:
    name = {"Classify": "ClassificationRequest", "Regress": "RegressionRequest"}.get(
        entrypoint, "MultiInferenceRequest"
    )
    request = messages.message_class(f"tensorflow.serving.{name}")()
    listed = request.input.example_list_with_context if context else request.input.example_list
    listed.examples.append(example(phone=["0123"], name=["Ada", "Bob"], fare=[1.5]))
    if context:
        listed.context.CopyFrom(example(phone=["0123"], age=[36]))
    after = type(request).FromString(REDACTION.request(entrypoint, request.SerializeToString()))  # type: ignore[arg-type]
    listed = after.input.example_list_with_context if context else after.input.example_list
    assert listed.examples[0] == example(name=[_hash("Ada").decode(), _hash("Bob").decode()], fare=[1.5])
    if context:
        assert listed.context == example(age=[_hash("36").decode()])


def test_an_answer_that_repeats_a_column_or_its_features() -> None:
    serialized = predict_response(
        phone=strings("0123"),
        name=strings("Ada"),
        phone_hash=np.array([3]),
        company_x_age_hash=np.array([3]),
        age_z=np.float32([1]),
        agency=np.float32([1]),
        scores=np.float32([1]),
    )
    after = messages.PredictResponse.FromString(REDACTION.response("Predict", serialized))
    assert sorted(after.outputs) == ["agency", "name", "scores"]
    assert to_array(after.outputs["name"]).tolist() == [_hash("Ada")]
    assert after.model_spec.version.value == 7


def test_fields_that_nobody_knows_are_left_out() -> None:
    unknown = b"\xfa\x3e\x06SECRET"
    assert b"SECRET" not in REDACTION.request("Predict", predict_request() + unknown)
    assert b"SECRET" not in REDACTION.response("Predict", predict_response() + unknown)
    assert b"SECRET" not in REDACTION.request("Classify", unknown)
    nested = example(phone=["0"]).SerializeToString() + unknown
    assert b"SECRET" not in REDACTION.request("Predict", predict_request(examples=strings(nested)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"Ada", "Ada"),
        (np.int64(-3), "-3"),
        (True, "1"),
        (np.bool_(False), "0"),
        (np.float32(0.1), "0.1"),
        (0.1, "0.1"),
        (np.float64(3), "3.0"),
        (np.float16(0.5), "0.5"),
        (1e300, "inf"),
    ],
)
def test_the_hash_is_that_of_a_text_anybody_can_write_down(value: Any, text: str) -> None:
    assert REDACTION.hash(value) == _hash(text)
    assert Redaction([], ["a"], "other key").hash(value) != _hash(text)


@pytest.mark.parametrize("missing", [b"", float("nan"), np.float32("nan"), np.iinfo(np.int64).min])
def test_what_is_missing_stays_missing(missing: Any) -> None:
    assert REDACTION.hash(missing) == b""
