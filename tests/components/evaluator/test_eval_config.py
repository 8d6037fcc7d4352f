"""The evaluator section of a line, checked and as a tfma.EvalConfig."""

from __future__ import annotations

from typing import Any

import pytest

from components.evaluator.eval_config import EvaluationConfig, eval_config, metric_threshold
from schema.errors import ConfigError
from schema.line import Line
from schema.release import EvaluatorConfig, SlicingSpec


def config(task: str = "binary_classification", classes: tuple[str, ...] | None = None, **evaluator: Any) -> Any:
    return EvaluationConfig(
        task=task,  # type: ignore[arg-type]
        label="big_tipper",
        classes=classes,
        evaluator=EvaluatorConfig.model_validate(evaluator),
    )


AUC = {
    "value_threshold": {"lower_bound": 0.8},
    "change_threshold": {"absolute": -0.005, "direction": "HIGHER_IS_BETTER"},
}
LOSS = {"change_threshold": {"relative": 0.1, "direction": "LOWER_IS_BETTER"}}
GOLDEN_MODEL = {
    "modelType": "tf_generic",
    "signatureName": "serving_default",
    "preprocessingFunctionNames": ["evaluation"],
    "labelKey": "big_tipper_xf",
    "predictionKey": "probabilities",
}


def full() -> Any:
    return config(
        thresholds={"auc": AUC},
        slicing_specs=[
            {"feature_keys": ["payment_type"], "thresholds": {"binary_crossentropy": LOSS}},
            {"feature_keys": ["trip_start_hour"], "feature_values": {"payment_type": "Cash"}},
        ],
        fairness=["company", "payment_type"],
    )


def test_golden_with_a_baseline() -> None:
    assert eval_config(full(), has_baseline=True) == {
        "modelSpecs": [
            {"name": "candidate", **GOLDEN_MODEL},
            {"name": "baseline", **GOLDEN_MODEL, "isBaseline": True},
        ],
        "slicingSpecs": [
            {},
            {"featureKeys": ["payment_type"]},
            {"featureKeys": ["trip_start_hour"], "featureValues": {"payment_type": "Cash"}},
            {"featureKeys": ["company"]},
        ],
        "metricsSpecs": [
            {
                "modelNames": ["candidate", "baseline"],
                "perSliceThresholds": {
                    "auc": {
                        "thresholds": [
                            {
                                "slicingSpecs": [{}],
                                "threshold": {
                                    "valueThreshold": {"lowerBound": 0.8},
                                    "changeThreshold": {"direction": "HIGHER_IS_BETTER", "absolute": -0.005},
                                },
                            }
                        ]
                    },
                    "binary_crossentropy": {
                        "thresholds": [
                            {
                                "slicingSpecs": [{"featureKeys": ["payment_type"]}],
                                "threshold": {"changeThreshold": {"direction": "LOWER_IS_BETTER", "relative": -0.1}},
                            }
                        ]
                    },
                },
            }
        ],
        "options": {"includeDefaultMetrics": False},
    }


def test_golden_without_a_baseline_has_one_nameless_model_and_no_change_thresholds() -> None:
    golden = eval_config(full(), has_baseline=False)
    assert golden["modelSpecs"] == [{"name": "", **GOLDEN_MODEL}]
    assert golden["metricsSpecs"] == [
        {
            "modelNames": [""],
            "perSliceThresholds": {
                "auc": {"thresholds": [{"slicingSpecs": [{}], "threshold": {"valueThreshold": {"lowerBound": 0.8}}}]}
            },
        }
    ]


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("binary_classification", "probabilities"),
        ("multiclass_classification", "probabilities"),
        ("regression", "predictions"),
    ],
)
def test_prediction_key_of_a_task(task: str, key: str) -> None:
    assert eval_config(config(task), has_baseline=False)["modelSpecs"][0]["predictionKey"] == key


def test_change_thresholds_bound_the_improvement_in_both_directions() -> None:
    bound = {"absolute": 0.01, "relative": None, "direction": "LOWER_IS_BETTER"}
    # better by at least 0.01 is a difference of at most -0.01
    assert metric_threshold(bound, "change_threshold") == {
        "changeThreshold": {"direction": "LOWER_IS_BETTER", "absolute": -0.01}
    }
    bound["direction"] = "HIGHER_IS_BETTER"
    assert metric_threshold(bound, "change_threshold")["changeThreshold"]["absolute"] == 0.01


def test_thresholds_of_a_spec_without_keys_are_overall_thresholds() -> None:
    line = config(thresholds={"auc": AUC}, slicing_specs=[{"thresholds": {"recall": AUC}}])
    assert [set(spec.thresholds) for spec in line.slicing_specs()] == [{"auc", "recall"}]


def test_an_unknown_metric_is_an_error_with_the_place_and_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        config(slicing_specs=[{"feature_keys": ["a"], "thresholds": {"acu": AUC}}]).check()
    assert "evaluator.slicing_specs[0].thresholds" in str(caught.value)
    assert "'acu'" in str(caught.value)
    assert caught.value.hint == "did you mean 'auc'?"


@pytest.mark.parametrize(
    ("task", "name", "known"),
    [
        ("binary_classification", "binary_crossentropy", True),
        ("binary_classification", "recall@0.25", True),
        ("binary_classification", "recall@0.3", False),
        ("binary_classification", "fairness_indicators_metrics/false_positive_rate@0.5", False),
        ("binary_classification", "accuracy", False),
        ("multiclass_classification", "macro_f1", True),
        ("multiclass_classification", "recall/Cash", True),
        ("multiclass_classification", "reccall/Cash", False),
        ("multiclass_classification", "auc", False),
        ("regression", "root_mean_squared_error", True),
        ("regression", "auc", False),
    ],
)
def test_which_metrics_a_task_has(task: str, name: str, known: bool) -> None:
    line = config(task, thresholds={name: AUC}, confusion_thresholds=[0.25])
    if known:
        line.check()
    else:
        with pytest.raises(ConfigError, match="must be a metric of a"):
            line.check()


def test_fairness_metrics_exist_where_sensitive_columns_are_named() -> None:
    name = "fairness_indicators_metrics/false_positive_rate@0.5"
    config(thresholds={name: AUC}, fairness=["company"]).check()


def test_a_class_that_the_line_does_not_know_is_an_error() -> None:
    config("multiclass_classification", ("Card", "Cash"), thresholds={"recall/Cash": AUC}).check()
    with pytest.raises(ConfigError, match="recall/Cahs"):
        config("multiclass_classification", ("Card", "Cash"), thresholds={"recall/Cahs": AUC}).check()


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ([{"name": "a", "max": 2}, {"name": "b", "min": 1}], "must not overlap"),
        ([{"name": "a", "max": 2}, {"name": "a", "min": 2}], "must differ"),
        ([{"name": "a", "min": 2, "max": 2}], "must have min < max"),
    ],
)
def test_ranges_that_make_no_sense_are_errors(ranges: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(ranges={"trip_miles": ranges}).check()


def test_ranges_that_touch_are_fine() -> None:
    config(ranges={"trip_miles": [{"name": "b", "min": 1}, {"name": "a", "max": 1}]}).check()


def test_a_feature_value_of_a_ranged_column_must_be_a_range() -> None:
    ranges = {"trip_miles": [{"name": "short", "max": 1}]}
    config(ranges=ranges, slicing_specs=[{"feature_values": {"trip_miles": "short"}}]).check()
    with pytest.raises(ConfigError) as caught:
        config(ranges=ranges, slicing_specs=[{"feature_values": {"trip_miles": "shrot"}}]).check()
    assert caught.value.hint == "did you mean 'short'?"


def test_a_column_must_not_be_key_and_value_at_once() -> None:
    with pytest.raises(ConfigError, match="feature_keys or in feature_values"):
        config(slicing_specs=[{"feature_keys": ["a"], "feature_values": {"a": "1"}}]).check()


def test_only_the_evaluators_own_sections_of_a_line_reach_it() -> None:
    line = {
        "name": "taxi",
        "task": "binary_classification",
        "label": {"name": "big_tipper", "expression": "tips > 0.2 * fare"},
        "examples": {"input": "data.csv"},
    }
    base = EvaluationConfig.of(Line.model_validate(line)).canonical()
    other = {**line, "trainer": {"epochs": 3}, "seed": 1, "examples": {"input": "other.csv"}}
    assert EvaluationConfig.of(Line.model_validate(other)).canonical() == base
    sliced = {**line, "evaluator": {"slicing_specs": [{"feature_keys": ["a"]}]}}
    assert EvaluationConfig.of(Line.model_validate(sliced)).canonical() != base


def test_a_sensitive_column_is_sliced_once() -> None:
    line = config(slicing_specs=[{"feature_keys": ["company"]}], fairness=["company"])
    assert line.slicing_specs() == [SlicingSpec(), SlicingSpec(feature_keys=("company",))]
