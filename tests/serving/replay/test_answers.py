"""Answers compared: equal byte by byte, or how they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving import messages
from serving.replay.answers import Difference, differences, outputs_of


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def texts(*values: bytes) -> np.ndarray:
    return np.array(values, object)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (floats(1, float("nan")), floats(1, float("nan"))),
        (texts(b"a", b"b"), texts(b"a", b"b")),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)),
        (np.array(3, np.int64), np.array(3, np.int64)),
        (np.array(b"x", object), np.array(b"x", object)),
    ],
)
def test_equal(then: np.ndarray, now: np.ndarray) -> None:
    assert differences({"y": then}, {"y": now}) == []


@pytest.mark.parametrize(
    ("then", "now", "wanted"),
    [
        (floats(1, 2, 3), floats(1, 2.5, 1), Difference("y", "values", 2, 2.0)),
        (floats(0.1, 0.2), np.nextafter(floats(0.1, 0.2), np.float32(1)), Difference("y", "values", 2, 1.49e-8, True)),
        (floats(0.0), floats(-0.0), Difference("y", "values", 1, 0.0, True)),
        (
            floats(1, 2),
            floats(float("nan"), 3),
            Difference("y", "values", 2, 1.0, text="not finite, then or now, in 1 rows"),
        ),
        (floats(1e9), floats(1e9 + 64), Difference("y", "values", 1, 64.0, True)),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 2], [0, 0]]), Difference("y", "values", 1, 4.0)),
        (texts(b"a", b"b"), texts(b"b", b"a"), Difference("y", "values", 2)),
        (texts(b"a", b"b"), texts(b"a", b"c"), Difference("y", "labels", 1)),
        (floats(1), floats(1, 2), Difference("y", "shape", text="(1,) then, (2,) now")),
        (floats(1), np.array([1.0]), Difference("y", "dtype", text="float32 then, float64 now")),
    ],
)
def test_different(then: np.ndarray, now: np.ndarray, wanted: Difference) -> None:
    (found,) = differences({"y": then}, {"y": now})
    assert (found.output, found.kind, found.rows, found.rounding, found.text) == (
        wanted.output,
        wanted.kind,
        wanted.rows,
        wanted.rounding,
        wanted.text,
    )
    assert found.max_abs == (None if wanted.max_abs is None else pytest.approx(wanted.max_abs, rel=0.01))


def test_outputs_that_one_lacks() -> None:
    found = differences({"a": floats(1)}, {"b": floats(1)})
    assert [(one.output, one.kind) for one in found] == [("a", "absent now"), ("b", "absent then")]


def test_every_kind_of_answer() -> None:
    log = messages.PredictionLog()
    row = log.classify_log.response.result.classifications.add()
    row.classes.add(label="no", score=0.25)
    row.classes.add(label="yes", score=0.75)
    found = outputs_of(log)
    assert found["classes"].tolist() == [[b"no", b"yes"]] and found["scores"].tolist() == [[0.25, 0.75]]
    log = messages.PredictionLog()
    log.regress_log.response.result.regressions.add(value=1.5)
    assert outputs_of(log)["outputs"].tolist() == [1.5]
    log = messages.PredictionLog()
    result: Any = log.multi_inference_log.response.results.add()
    result.model_spec.signature_name = "regress"
    result.regression_result.regressions.add(value=2.5)
    assert {key: value.tolist() for key, value in outputs_of(log).items()} == {"regress.outputs": [2.5]}
