"""Warm-up files: which requests are replayed, how, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.model_server import warm_up
from serving.model_server.errors import Code, ServingError
from serving.model_server.warm_up import replay
from tests.serving.model_server.toy_models import example, example_log, predict_log, tfrecord

Calls = list[tuple[str, dict[str, Any]]]


def replayed(path: Path, records: Any, iterations: int = 1) -> Calls:
    calls: Calls = []
    path.write_bytes(records if isinstance(records, bytes) else tfrecord(records))
    count = replay(
        path, lambda name, inputs: calls.append((name, {k: v.tolist() for k, v in inputs.items()})), iterations
    )
    assert isinstance(records, bytes) or count == len(records)
    return calls


def failure(path: Path, records: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        replayed(path, records)
    return caught.value


def multi_inference(*signatures: str, context: bytes | None = None) -> Any:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.multi_inference_log.request
    for name in signatures:
        request.tasks.add().model_spec.signature_name = name
    if context is None:
        request.input.example_list.examples.add().ParseFromString(example(0.5))
    else:
        request.input.example_list_with_context.examples.add()
        request.input.example_list_with_context.context.ParseFromString(context)
    return log


def test_every_kind_of_request_is_replayed_in_order(tmp_path: Path) -> None:
    records = [
        predict_log("predict_multi", words=np.array([b"a"], dtype=object), counts=np.int64([2])),
        predict_log("", x=np.float32([1, 2])),
        example_log("classify_log", "classify", [example(0.5), example()]),
        example_log("regress_log", "", [example(0.25)]),
        multi_inference("classify", "regress"),
    ]
    assert replayed(tmp_path / "file", records) == [
        ("predict_multi", {"words": [b"a"], "counts": [2]}),
        ("serving_default", {"x": [1.0, 2.0]}),
        ("classify", {"inputs": [example(0.5), example()]}),
        ("serving_default", {"inputs": [example(0.25)]}),
        ("classify", {"inputs": [example(0.5)]}),
        ("regress", {"inputs": [example(0.5)]}),
    ]


def test_a_context_is_part_of_each_example(tmp_path: Path) -> None:
    import tensorflow as tf

    calls = replayed(tmp_path / "file", [multi_inference("classify", context=example(0.75))])
    assert tf.train.Example.FromString(calls[0][1]["inputs"][0]).features.feature["x"].float_list.value == [0.75]


def test_each_request_is_run_as_often_as_asked(tmp_path: Path) -> None:
    calls = replayed(tmp_path / "file", [predict_log(x=np.float32([n])) for n in (1, 2)], iterations=2)
    assert [inputs["x"] for _, inputs in calls] == [[1.0], [1.0], [2.0], [2.0]]


def test_an_empty_file_and_an_empty_record_ask_nothing(tmp_path: Path) -> None:
    assert replayed(tmp_path / "file", b"") == []
    assert replayed(tmp_path / "file", [b""]) == []


def test_a_thousand_requests_are_the_most(tmp_path: Path) -> None:
    record = predict_log(x=np.float32([1]))
    assert len(replayed(tmp_path / "file", [record] * warm_up.MAX_RECORDS)) == 1000
    error = failure(tmp_path / "file", [record] * (warm_up.MAX_RECORDS + 1))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message == f"Number of warmup records exceeds the maximum (1000) at {tmp_path / 'file'}"


def test_records_that_are_no_requests(tmp_path: Path) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    error = failure(tmp_path / "file", [predict_log(x=np.float32([1])), b"\xff\xff"])
    assert error.code is Code.INVALID_ARGUMENT and "record 2 from" in error.message
    session_run = prediction_log_pb2.PredictionLog()
    session_run.session_run_log.SetInParent()
    error = failure(tmp_path / "file", [session_run])
    assert error.code is Code.UNIMPLEMENTED and "session_run_log" in error.message
    error = failure(tmp_path / "file", [example_log("classify_log", "classify", [])])
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, "Input is empty.")


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"no TFRecord at all", lambda data: data[1:]])
def test_a_damaged_file(tmp_path: Path, damage: Any) -> None:
    error = failure(tmp_path / "file", damage(tfrecord([predict_log(x=np.float32([1]))])))
    assert error.code is Code.DATA_LOSS
    assert error.message.endswith(". Please verify your warmup data is in TFRecord format.")


def test_what_a_request_raises_comes_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(tfrecord([predict_log(x=np.float32([1]))]))

    def fail(name: str, inputs: dict[str, np.ndarray]) -> None:
        raise ServingError(Code.FAILED_PRECONDITION, f"no {name}")

    with pytest.raises(ServingError, match="no serving_default"):
        replay(tmp_path / "file", fail)
