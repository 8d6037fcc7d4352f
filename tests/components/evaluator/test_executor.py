"""The Evaluator on real SavedModels and record files (see `known_models.py`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.evaluator.results import Evaluation
from tests.components.evaluator.known_models import Row, artifact, by_name, evaluate, line, records


def trip(payment: str | None, hour: int, miles: float | None, yes: bool | None, p: float, p_before: float) -> Row:
    label = None if yes is None else "yes" if yes else "no"
    # `examples` is a raw column with the name of the signatures' input: it must not be taken for it
    row = {"payment_type": payment, "hour": hour, "miles": miles, "label": label, "p": p, "p_before": p_before}
    return {**row, "examples": "decoy"}


def trips() -> list[Row]:
    """Cash: 8 of 10 right. Card: 4 of 10 right (8 of 10 before). Prcard: one row, wrong. One row without a label."""
    rows = [trip("Cash", 5, 0.7, True, 0.9 if i < 8 else 0.2, 0.6) for i in range(5)]
    rows += [trip("Cash", 6, 0.2, False, 0.1 if i < 3 else 0.7, 0.4) for i in range(5)]
    rows += [trip("Card", 5, 2.5, True, 0.8 if i < 2 else 0.3, 0.7 if i < 4 else 0.3) for i in range(5)]
    rows += [trip("Card", 6, None, False, 0.2 if i < 2 else 0.6, 0.3 if i < 4 else 0.6) for i in range(5)]
    rows += [trip("Prcard", 5, 9.0, True, 0.1, 0.9), trip(None, 5, 9.0, None, 0.1, 0.1)]
    return rows


SLICED: dict[str, Any] = {
    "thresholds": {
        "auc": {"value_threshold": {"lower_bound": 0.5}},
        "binary_accuracy": {"change_threshold": {"absolute": -0.05, "direction": "HIGHER_IS_BETTER"}},
        "example_count": {"change_threshold": {"absolute": 0, "direction": "LOWER_IS_BETTER"}},
    },
    "slicing_specs": [
        {
            "feature_keys": ["payment_type"],
            "thresholds": {"binary_accuracy": {"value_threshold": {"lower_bound": 0.5}}},
        },
        {"feature_keys": ["hour", "payment_type"]},
        {"feature_keys": ["miles"]},
    ],
    "ranges": {"miles": [{"name": "short", "max": 0.7}, {"name": "long", "min": 0.7}]},
    "min_slice_size": 3,
}


@pytest.fixture(scope="module")
def binary(
    tmp_path_factory: pytest.TempPathFactory, models: Callable[[str, str], Path]
) -> tuple[Evaluation, Any, Path]:
    tmp_path = tmp_path_factory.mktemp("binary")
    rows = trips()
    records(tmp_path, rows[:7], rows[7:])
    task = "binary_classification"
    evaluation, blessing = evaluate(tmp_path, line(task, **SLICED), models(task, "p"), models(task, "p_before"))
    return evaluation, blessing, tmp_path


def test_slices_have_the_names_of_raw_values(binary: tuple[Evaluation, Any, Path]) -> None:
    evaluation, _, _ = binary
    assert [(result.slice, result.examples, result.too_small) for result in evaluation.slices] == [
        ("Overall", 21, False),
        ("hour=5,payment_type=Card", 5, False),
        ("hour=5,payment_type=Cash", 5, False),
        ("hour=5,payment_type=Prcard", 1, True),
        ("hour=6,payment_type=Card", 5, False),
        ("hour=6,payment_type=Cash", 5, False),
        ("miles=long", 11, False),
        ("miles=short", 5, False),
        ("payment_type=Card", 10, False),
        ("payment_type=Cash", 10, False),
        ("payment_type=Prcard", 1, True),
    ]
    assert evaluation.unlabelled == 1


def test_metrics_of_a_slice_are_those_of_its_rows(binary: tuple[Evaluation, Any, Path]) -> None:
    slices = by_name(binary[0])
    assert slices["payment_type=Cash"].metrics["binary_accuracy"] == 0.8
    assert slices["payment_type=Card"].metrics["binary_accuracy"] == 0.4
    assert slices["payment_type=Card"].baseline["binary_accuracy"] == 0.8
    assert slices["payment_type=Prcard"].metrics["auc"] is None


def test_reasons_name_the_slice_that_fails_and_small_ones_block_nothing(binary: tuple[Evaluation, Any, Path]) -> None:
    evaluation, _, _ = binary
    assert not evaluation.blessed and evaluation.has_baseline
    assert [(f.slice, f.metric, f.kind, f.bound, f.examples) for f in evaluation.failures] == [
        ("Overall", "binary_accuracy", "change_threshold", "fall by at most 0.05", 21),
        ("payment_type=Card", "binary_accuracy", "value_threshold", "at least 0.5", 10),
    ]
    assert evaluation.failures[0].value == pytest.approx(12 / 21)
    assert evaluation.failures[0].baseline == pytest.approx(19 / 21)
    assert [(f.slice, f.metric) for f in evaluation.not_judged] == [("payment_type=Prcard", "binary_accuracy")]


def test_the_blessing_is_as_tfx_writes_it(binary: tuple[Evaluation, Any, Path]) -> None:
    _, blessing, tmp_path = binary
    assert [path.name for path in (tmp_path / "blessing").iterdir()] == ["NOT_BLESSED"]
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_int_custom_property("current_model_id") == 7
    assert blessing.get_int_custom_property("baseline_model_id") == 8


def test_results_are_the_same_bytes_in_shards_through_beam(
    binary: tuple[Evaluation, Any, Path],
    models: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from components.evaluator import executor, tfma_evaluation

    monkeypatch.setattr(executor, "SHARD_BYTES", 1)
    monkeypatch.setattr(tfma_evaluation, "BATCH_ROWS", 4)
    _, _, source = binary
    rows = trips()
    records(tmp_path, rows[:7], rows[7:])
    assert len(executor.eval_shards([artifact("Examples", tmp_path / "examples")])) == 2
    task = "binary_classification"
    evaluate(tmp_path, line(task, **SLICED), models(task, "p"), models(task, "p_before"))
    for name in ("evaluation.json", "metrics-00000-of-00001.tfrecord", "validations.tfrecord", "eval_config.json"):
        assert (tmp_path / "evaluation" / name).read_bytes() == (source / "evaluation" / name).read_bytes(), name


def test_the_first_model_of_a_line_has_no_baseline_and_is_blessed(
    models: Callable[[str, str], Path], tmp_path: Path
) -> None:
    records(tmp_path, trips())
    change = {"change_threshold": {"absolute": 0, "direction": "HIGHER_IS_BETTER"}}
    config = line("binary_classification", thresholds={"auc": change})
    evaluation, blessing = evaluate(tmp_path, config, models("binary_classification", "p"))
    assert evaluation.blessed and not evaluation.has_baseline and not evaluation.failures
    assert evaluation.slices[0].baseline == {}
    assert [path.name for path in (tmp_path / "blessing").iterdir()] == ["BLESSED"]
    assert blessing.get_int_custom_property("blessed") == 1


def test_an_empty_eval_split_and_broken_predictions_are_not_blessed(
    models: Callable[[str, str], Path], tmp_path: Path
) -> None:
    config = line("binary_classification", thresholds={"mean_label": {"value_threshold": {"lower_bound": 0}}})
    model = models("binary_classification", "p")
    records(tmp_path, [])
    evaluation, _ = evaluate(tmp_path, config, model)
    assert [f.message for f in evaluation.failures][0] == "the eval split has no labelled row"
    records(tmp_path, [*trips(), {**trips()[0], "p": math.nan}])
    evaluation, _ = evaluate(tmp_path, config, model)
    assert [f.message for f in evaluation.failures] == ["1 of 22 predictions are broken"]


def test_multiclass_metrics_are_named_by_class(models: Callable[[str, str], Path], tmp_path: Path) -> None:
    rows = [{"label": "Cash", "p": (0.7, 0.1), "hour": 1}, {"label": "Cash", "p": (0.1, 0.1), "hour": 2}]
    rows += [{"label": "Card", "p": (0.3, 0.1), "hour": 1}, {"label": "Other", "p": (0.2, 0.7), "hour": 1}]
    rows += [{"label": "unheard of", "p": (0.5, 0.5), "hour": 1}]
    records(tmp_path, rows)
    config = line(
        "multiclass_classification",
        thresholds={"recall/Cash": {"value_threshold": {"lower_bound": 0.6}}},
        slicing_specs=[{"feature_keys": ["hour"]}],
        min_slice_size=1,
    )
    evaluation, _ = evaluate(tmp_path, config, models("multiclass_classification", "p"))
    overall = evaluation.slices[0].metrics
    assert evaluation.slices[0].examples == 4 and evaluation.unlabelled == 1
    assert overall["accuracy"] == 0.75 and overall["recall/Cash"] == 0.5 and overall["precision/Card"] == 0.5
    assert by_name(evaluation)["hour=1"].metrics["accuracy"] == 1.0
    assert [(f.slice, f.metric, f.value) for f in evaluation.failures] == [("Overall", "recall/Cash", 0.5)]


def test_regression_metrics(models: Callable[[str, str], Path], tmp_path: Path) -> None:
    label, prediction = [1.0, 2.0, 4.0, 5.0], [1.5, 2.0, 3.0, 5.0]
    rows: list[Row] = [
        {"label": y, "p": p, "hour": i % 2} for i, (y, p) in enumerate(zip(label, prediction, strict=True))
    ]
    records(tmp_path, [*rows, {"p": 1.0, "hour": 1}])
    config = line(
        "regression",
        thresholds={"root_mean_squared_error": {"value_threshold": {"upper_bound": 0.6}}},
        slicing_specs=[{"feature_keys": ["hour"]}],
    )
    evaluation, _ = evaluate(tmp_path, config, models("regression", "p"))
    overall = evaluation.slices[0].metrics
    assert evaluation.blessed and evaluation.unlabelled == 1
    assert overall["mean_absolute_error"] == 0.375
    assert overall["root_mean_squared_error"] == pytest.approx(math.sqrt(1.25 / 4))
    assert overall["r_squared"] == pytest.approx(1 - 1.25 / 10)
    assert by_name(evaluation)["hour=0"].metrics["mean_absolute_error"] == 0.75
