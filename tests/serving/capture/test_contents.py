"""Requests and answers as JSON values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from serving import messages
from serving.capture import contents
from tests.serving.capture.exchanges import example, predict_request, predict_response, strings


def _predict(**inputs: np.ndarray) -> Any:
    log = messages.PredictionLog()
    log.predict_log.request.MergeFromString(predict_request(**inputs))
    return log


def test_tensors() -> None:
    log = _predict(
        company=strings("Blue", "Ä", b"\xff"),
        fare=np.array([0.1, np.nan, -np.inf], np.float32),
        matrix=np.array([[1, 2], [3, 4]]),
        cube=np.zeros((2, 1, 2), bool),
        half=np.array(0.5, np.float16),
        double=np.array(0.1),
        empty=np.zeros((0, 2), np.float32),
    )
    found = contents.inputs(log)
    assert found == {
        "company": ["Blue", "Ä", {"b64": "/w=="}],
        "fare": [0.1, "NaN", "-Infinity"],
        "matrix": [[1, 2], [3, 4]],
        "cube": [[[False, False]], [[False, False]]],
        "half": 0.5,
        "double": 0.1,
        "empty": [],
    }
    json.dumps(found, allow_nan=False)
    log.predict_log.response.MergeFromString(predict_response(scores=np.array([[0.25, 0.75]], np.float32)))
    assert contents.outputs(log) == {"scores": [[0.25, 0.75]]}


def test_examples_in_a_tensor() -> None:
    serialized = example(fare=[0.1], company=["Blue"], trips=[3], none=[]).SerializeToString()
    log = _predict(examples=strings(serialized, b"\xff\xff"), other=strings(serialized))
    found = contents.inputs(log)
    assert found["examples"] == [{"company": ["Blue"], "fare": [0.1], "none": [], "trips": [3]}, {"b64": "//8="}]
    assert not isinstance(found["other"][0], dict) or "b64" in found["other"][0]


def test_a_tensor_that_cannot_be_read_says_so() -> None:
    log = _predict(fare=np.float32([1]))
    log.predict_log.request.inputs["fare"].tensor_shape.dim[0].size = -1
    assert "unreadable" in contents.inputs(log)["fare"]


@pytest.mark.parametrize("kind", ["classify_log", "regress_log", "multi_inference_log"])
@pytest.mark.parametrize("context", [False, True])
def test_examples_of_the_other_methods(kind: str, context: bool) -> None:
    log = messages.PredictionLog()
    given = getattr(log, kind).request.input
    listed = given.example_list_with_context if context else given.example_list
    listed.examples.extend([example(fare=[1.5]), example(trips=[2])])
    if context:
        listed.context.CopyFrom(example(company=["Blue"]))
    wanted: dict[str, Any] = {"examples": [{"fare": [1.5]}, {"trips": [2]}]}
    assert contents.inputs(log) == ({**wanted, "context": {"company": ["Blue"]}} if context else wanted)
    assert contents.rows(log) == 2


def test_results() -> None:
    log = messages.PredictionLog()
    log.classify_log.response.result.classifications.add().classes.add(label="high", score=0.1)
    assert contents.outputs(log) == {"classifications": [[{"label": "high", "score": 0.1}]]}
    log = messages.PredictionLog()
    log.regress_log.response.result.regressions.add(value=0.1)
    assert contents.outputs(log) == {"regressions": [0.1]}
    log = messages.PredictionLog()
    results = log.multi_inference_log.response.results
    first, second, third = results.add(), results.add(), results.add()
    first.model_spec.signature_name = "a"
    first.classification_result.classifications.add()
    second.model_spec.signature_name = "b"
    second.regression_result.regressions.add(value=2.0)
    third.model_spec.signature_name = "c"
    assert contents.outputs(log) == {"a": {"classifications": [[]]}, "b": {"regressions": [2.0]}, "c": {}}


def test_rows() -> None:
    assert contents.rows(_predict(a=np.float32([1]), b=np.zeros((3, 2), np.float32))) == 3
    assert contents.rows(_predict(a=np.array(1.0, np.float32))) == 1
    assert contents.rows(_predict()) is None
    assert contents.rows(messages.PredictionLog()) is None
    log = messages.PredictionLog()
    log.classify_log.SetInParent()
    assert contents.rows(log) is None


def test_a_log_of_another_kind_has_no_contents() -> None:
    log = messages.PredictionLog()
    log.session_run_log.SetInParent()
    assert contents.inputs(log) == {} and contents.outputs(log) == {}
    log = messages.PredictionLog()
    log.predict_log.SetInParent()
    assert contents.inputs(log) == {} and contents.outputs(log) == {}
    log = messages.PredictionLog()
    log.classify_log.SetInParent()
    assert contents.inputs(log) == {"examples": []} and contents.outputs(log) == {"classifications": []}
