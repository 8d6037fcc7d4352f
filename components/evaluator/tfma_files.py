"""Writes results in TFMA's own files, so that `tfma.load_eval_result`, its views and Fairness Indicators read them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from components.evaluator.eval_config import (
    BASELINE,
    CANDIDATE,
    EvaluationConfig,
    eval_config_proto,
    metric_threshold,
    slicing_spec,
)
from components.evaluator.results import Evaluation, Finding, SliceResult
from components.evaluator.slices import matches


def write_tfma_files(directory: str, config: EvaluationConfig, evaluation: Evaluation) -> None:
    """Writes `eval_config.json`, `metrics-00000-of-00001.tfrecord` and `validations.tfrecord` into `directory`."""
    import tensorflow as tf
    from google.protobuf import json_format
    from tensorflow_model_analysis import version
    from tensorflow_model_analysis.proto import config_pb2

    has_baseline = evaluation.has_baseline
    names = [CANDIDATE, BASELINE] if has_baseline else [""]
    run = config_pb2.EvalRun(
        eval_config=eval_config_proto(config, has_baseline=has_baseline),
        version=version.VERSION,
        data_location="eval",
        file_format="tfrecords_gzip",
        # TFMA only displays them. ML Metadata knows which models they were; a path would differ in every run.
        model_locations={name: name or CANDIDATE for name in names},
    )
    with tf.io.gfile.GFile(os.path.join(directory, "eval_config.json"), "w") as file:
        file.write(json_format.MessageToJson(run, sort_keys=True))
    _write(
        os.path.join(directory, "metrics-00000-of-00001.tfrecord"),
        (_slice_metrics(result, has_baseline) for result in evaluation.slices),
    )
    _write(os.path.join(directory, "validations.tfrecord"), [_validation(config, evaluation)])


def _write(path: str, messages: Iterable[Any]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(path) as writer:
        for message in messages:
            writer.write(message.SerializeToString(deterministic=True))


def _slice_metrics(result: SliceResult, has_baseline: bool) -> Any:
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

    message = metrics_for_slice_pb2.MetricsForSlice(slice_key=_slice_key(result.key))
    rows: list[tuple[str, str, bool, float | None]] = []
    for name, value in result.metrics.items():
        rows.append((name, CANDIDATE if has_baseline else "", False, value))
        if has_baseline and name in result.baseline:
            before = result.baseline[name]
            difference = None if value is None or before is None else value - before
            rows.append((name, CANDIDATE, True, difference))
    rows += [(name, BASELINE, False, value) for name, value in result.baseline.items()]
    for name, model, is_diff, value in sorted(rows, key=lambda row: row[:3]):
        entry = message.metric_keys_and_values.add()
        entry.key.name, entry.key.model_name, entry.key.is_diff = name, model, is_diff
        entry.value.double_value.value = math.nan if value is None else value
    return message


def _slice_key(key: Sequence[tuple[str, str | int | float]]) -> Any:
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

    message = metrics_for_slice_pb2.SliceKey()
    for column, value in key:
        single = message.single_slice_keys.add()
        single.column = column
        if isinstance(value, str):
            single.bytes_value = value.encode()
        elif isinstance(value, int):
            single.int64_value = value
        else:
            single.float_value = value
    return message


def _validation(config: EvaluationConfig, evaluation: Evaluation) -> Any:
    from google.protobuf import json_format
    from tensorflow_model_analysis.proto import validation_result_pb2

    message = validation_result_pb2.ValidationResult(validation_ok=evaluation.blessed)
    message.missing_thresholds = not any(spec.thresholds for spec in config.slicing_specs())
    message.rubber_stamp = not evaluation.has_baseline
    for spec in config.slicing_specs():
        if spec.thresholds:
            details = message.validation_details.slicing_details.add()
            json_format.ParseDict(slicing_spec(spec), details.slicing_spec)
            judged = (result for result in evaluation.slices if not result.too_small)
            details.num_matching_slices = sum(matches(result.key, spec) for result in judged)
    keys = {result.slice: result.key for result in evaluation.slices}
    by_slice: dict[str, list[Finding]] = {}
    for failure in evaluation.failures:
        by_slice.setdefault(failure.slice, []).append(failure)
    for name, failures in by_slice.items():
        entry = message.metric_validations_per_slice.add()
        entry.slice_key.CopyFrom(_slice_key(keys[name]))
        for failure in failures:
            one = entry.failures.add()
            one.metric_key.name = failure.metric
            one.metric_key.model_name = CANDIDATE if evaluation.has_baseline else ""
            one.metric_key.is_diff = failure.kind == "change_threshold"
            one.message = failure.message
            if failure.value is not None:
                value = failure.value
                if failure.baseline is not None:
                    value -= failure.baseline
                one.metric_value.double_value.value = value
            if failure.threshold is not None:
                json_format.ParseDict(metric_threshold(failure.threshold, failure.kind), one.metric_threshold)
    return message
