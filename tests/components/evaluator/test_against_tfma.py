"""Every metric of a binary classification and a regression, held against stock TFMA's of the same model and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluator.eval_config import eval_config
from components.evaluator.metric_names import metric_names
from components.evaluator.results import SliceResult
from tests.components.evaluator.known_models import Row, evaluate, line, records
from tests.components.evaluator.stock_tfma import (
    CONFUSION,
    EXACT,
    ROUNDING,
    close,
    number,
    stock,
    stock_metric,
    with_thresholds,
)

BINARY = {
    "example_count": "ExampleCount",
    "auc": "AUC",
    "auc_precision_recall": "AUCPrecisionRecall",
    "binary_accuracy": "BinaryAccuracy",
    "binary_crossentropy": "BinaryCrossEntropy",
    "brier_score": "MeanSquaredError",
    "calibration": "Calibration",
    "f1": "F1Score",
    "mean_label": "MeanLabel",
    "mean_prediction": "MeanPrediction",
    "precision": "Precision",
    "recall": "Recall",
}
REGRESSION = {
    "example_count": "ExampleCount",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_label": "MeanLabel",
    "mean_prediction": "MeanPrediction",
    "mean_squared_error": "MeanSquaredError",
    "root_mean_squared_error": "RootMeanSquaredError",
}
TOLERANCE = {"auc": 1e-4, "auc_precision_recall": 1e-3}
"""TFMA's areas are over 10,000 thresholds, ours over 1/4096 of a logit."""
COUNTED = {*CONFUSION, "accuracy", "binary_accuracy", "example_count", "positive_rate", "negative_rate"}


def failed(path: Path) -> set[tuple[Any, str]]:
    """Which metric of which slice failed, according to a `validations.tfrecord`."""
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.slicer import slicer_lib

    validation = tfma.load_validation_result(str(path))
    return {
        (slicer_lib.deserialize_slice_key(entry.slice_key), failure.metric_key.name)
        for entry in validation.metric_validations_per_slice
        for failure in entry.failures
    }


def synthetic(task: str, thresholds: Iterable[float]) -> list[Row]:
    """300 rows whose scores say something about the label; some are at a decision threshold, or all but certain."""
    draw = np.random.default_rng(1)
    special = [*thresholds, 1e-6, float(np.float32(1 - 1e-6))]
    rows: list[Row] = []
    for i in range(300):
        p = float(np.float32(draw.uniform(0.02, 0.98))) if i % 10 else special[i // 10 % len(special)]
        yes: Any = bool(draw.uniform() < p)
        label = ("yes" if yes else "no") if task == "binary_classification" else float(np.float32(p + draw.normal()))
        rows.append({"label": label, "p": p, "hour": i % 2, "who": None if i % 7 == 0 else "abc"[i % 3]})
    # a slice of one class, and one of a model that never says yes
    rows += [{"label": "no" if task == "binary_classification" else 1.0, "p": 0.9, "hour": 3, "who": "d"}]
    rows += [{"label": "yes" if task == "binary_classification" else 2.0, "p": 0.1, "hour": 4, "who": "d"}]
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary_classification", "regression"])
def test_binary_and_regression(task: str, models: Callable[[str, str], Path], tmp_path: Path) -> None:
    thresholds = (0.25, 0.5, 0.75)
    binary = task == "binary_classification"
    records(tmp_path, synthetic(task, thresholds))
    missed = "recall" if binary else "mean_absolute_error"
    config = line(
        task,
        slicing_specs=[
            {"feature_keys": ["hour"], "thresholds": {missed: {"value_threshold": {"upper_bound": 0.75}}}},
            {"feature_keys": ["hour", "who"]},
        ],
        # is met by all rows and by no slice, of which it is not asked
        thresholds={"example_count": {"value_threshold": {"lower_bound": 300}}},
        min_slice_size=1,
        **(
            {"confusion_thresholds": thresholds, "fairness_thresholds": thresholds, "fairness": ["who"]}
            if binary
            else {}
        ),
    )
    evaluation, _ = evaluate(tmp_path, config, models(task, "p"))
    theirs = eval_config(config, has_baseline=False)
    metrics = [stock_metric(name, stock_class) for name, stock_class in (BINARY if binary else REGRESSION).items()]
    if binary:
        # the probability of the positive class; of two columns TFMA's binary metrics would make two predictions
        theirs["modelSpecs"][0]["predictionKey"] = "scores"
        metrics += [stock_metric(f"{n}@{t}", c, thresholds=t) for t in thresholds for n, c in CONFUSION.items()]
        metrics += [stock_metric(f"accuracy@{t}", "BinaryAccuracy", threshold=t) for t in thresholds]
    theirs["metricsSpecs"] = [{"metrics": with_thresholds(metrics, theirs)}]
    model = {"": models(task, "p") / "Format-Serving"}
    result = stock(tmp_path / "stock", theirs, model, tmp_path / "examples" / "Split-eval" / "*")

    assert sorted(result.get_slice_names()) == sorted(s.key for s in evaluation.slices)
    names = metric_names(
        task,
        confusion_thresholds=config.evaluator.confusion_thresholds if binary else (),
        fairness_thresholds=config.fairness_thresholds,
    )
    for ours in evaluation.slices:
        values = {name: number(value) for name, value in result.get_metrics_for_slice(ours.key).items()}
        for t in thresholds if binary else ():  # TFMA has no such metric
            values[f"negative_rate@{t}"] = 1.0 - (values[f"positive_rate@{t}"] or 0.0)
        if not binary:
            values["r_squared"] = _r_squared(ours, synthetic(task, thresholds), values["mean_squared_error"])
        assert sorted(ours.metrics) == names
        for name in names:
            plain = name.removeprefix("fairness_indicators_metrics/")
            base = plain.partition("@")[0]
            expected = values[plain]
            if base == "precision" and expected is None and values["recall"] is not None:
                expected = 0.0  # by our definition: a model that never says yes must not be without a precision
            if base.startswith("auc") and ours.metrics[name] is None:
                # of one class TFMA's area is 0, which no threshold should be held against
                assert expected == 0.0 and ours.metrics["mean_label"] in ({0.0} if "_" in base else {0.0, 1.0})
                continue
            tolerance = EXACT if base in COUNTED else TOLERANCE.get(base, ROUNDING)
            assert close(ours.metrics[name], expected, tolerance), (ours.slice, name, ours.metrics[name], expected)
    key = {s.slice: s.key for s in evaluation.slices}
    undefined = {(key[finding.slice], finding.metric) for finding in evaluation.not_judged}
    assert len(undefined) == (1 if binary else 0), "the recall of a slice without positives: TFMA says that it failed"
    assert failed(tmp_path / "evaluation") == failed(tmp_path / "stock") - undefined != set()


def _r_squared(ours: SliceResult, rows: list[Row], mean_squared_error: float | None) -> float | None:
    """By its definition, of TFMA's squared error. (Keras's R2Score does not merge, so that TFMA cannot count it.)"""
    label = np.asarray([row["label"] for row in rows if all(row[c] == v for c, v in ours.key)], np.float64)
    assert mean_squared_error is not None
    return 1.0 - mean_squared_error / label.var() if label.var() else None
