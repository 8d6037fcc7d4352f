"""Stock TFMA on models and rows that the Evaluator has judged, to hold the Evaluator's numbers against."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

CONFUSION = {
    "true_positives": "TruePositives",
    "false_positives": "FalsePositives",
    "true_negatives": "TrueNegatives",
    "false_negatives": "FalseNegatives",
    "precision": "Precision",
    "recall": "Recall",
    "false_positive_rate": "FallOut",
    "false_negative_rate": "MissRate",
    "f1": "F1Score",
    "true_positive_rate": "TPR",
    "true_negative_rate": "Specificity",
    "positive_rate": "PredictedPositiveRate",
    "false_discovery_rate": "FalseDiscoveryRate",
    "false_omission_rate": "FalseOmissionRate",
}
"""What TFMA calls a metric of a confusion matrix."""
ROUNDING = 2e-6
"""For what differs by the order of float32 sums only."""
EXACT = 1e-12
"""For what is made of counts."""


def stock_metric(name: str, class_name: str, **config: Any) -> dict[str, Any]:
    """One of TFMA's metrics under a name of ours, so that thresholds and results go by the same name."""
    return {"className": class_name, "config": json.dumps({"name": name, **config})}


def stock(folder: Path, config: Mapping[str, Any], models: Mapping[str, Path], data: Path) -> Any:
    """Has TFMA evaluate models (by the name in the config) on record files; returns its results."""
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format

    parsed = json_format.ParseDict(dict(config), tfma.EvalConfig())
    shared = [
        tfma.default_eval_shared_model(str(path), model_name=name, eval_config=parsed) for name, path in models.items()
    ]
    return tfma.run_model_analysis(
        eval_shared_model=shared if len(shared) > 1 else shared[0],
        eval_config=parsed,
        data_location=str(data),
        output_path=str(folder),
    )


def with_thresholds(metrics: list[dict[str, Any]], config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Metrics with our thresholds of them: for those that it counts itself, TFMA wants each with its metric."""
    ours = config["metricsSpecs"][0]["perSliceThresholds"]
    names = [json.loads(metric["config"])["name"] for metric in metrics]
    assert set(ours) <= set(names)
    return [
        {**metric, "perSliceThresholds": ours.get(name, {}).get("thresholds", [])}
        for metric, name in zip(metrics, names, strict=True)
    ]


def number(value: Mapping[str, Any]) -> float | None:
    """TFMA's value; None where it is NaN, as in our results."""
    found = float(value["doubleValue"])
    return None if math.isnan(found) else found


def close(ours: float | None, theirs: float | None, tolerance: float) -> bool:
    """Equal to a relative and absolute tolerance; and undefined where the other is."""
    if ours is None or theirs is None:
        return ours is theirs
    return ours == pytest.approx(theirs, abs=tolerance, rel=tolerance)
