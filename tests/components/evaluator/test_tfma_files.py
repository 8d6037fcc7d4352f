"""What the Evaluator writes is what TFMA's own loaders and views read: for every task, with a baseline and without."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.evaluator.results import Evaluation
from tests.components.evaluator.known_models import CLASSES, Row, by_name, evaluate, line, records

TASKS = ("binary_classification", "multiclass_classification", "regression")
MISSED = {
    "binary_classification": ("binary_accuracy", {"lower_bound": 0.7}),
    "multiclass_classification": ("recall/Card", {"lower_bound": 0.7}),
    "regression": ("mean_absolute_error", {"upper_bound": 0.3}),
}
"""A metric and a bound that the model meets at five o'clock, and not at six."""


@dataclass(frozen=True)
class Case:
    """An evaluation and its files."""

    task: str
    evaluation: Evaluation
    directory: str

    @property
    def model_name(self) -> str | None:
        """What TFMA's loaders have to be told."""
        return "candidate" if self.evaluation.has_baseline else None


def rows_of(task: str) -> list[Row]:
    """Two hours; the model is right at five, and often wrong at six. Some columns are missing."""
    rows: list[Row] = []
    for i in range(40):
        hour, wrong = 5 + i % 2, i % 2 == 1 and i % 3 > 0
        row: Row = {
            "hour": hour,
            "miles": None if i % 5 == 0 else i / 10,
            "who": None if i % 7 == 0 else "äß"[i // 2 % 2],
        }
        if task == "regression":
            row |= {"label": float(i % 4), "p": float(i % 4) + (0.75 if wrong else 0.25), "p_before": 1.5}
        elif task == "binary_classification":
            yes = i % 4 > 1
            row |= {"label": "yes" if yes else "no", "p": 0.8 if yes != wrong else 0.3, "p_before": 0.6}
        else:
            c = i // 2 % 3  # CLASSES has three; the first one's probability is the rest
            said = (c + 1) % 3 if wrong else c
            row["label"] = CLASSES[task][c]
            row |= {"p": tuple(0.7 if said == k else 0.1 for k in (1, 2)), "p_before": (0.3, 0.4)}
        rows.append(row)
    return rows


@pytest.fixture(scope="module", params=[(t, b) for t in TASKS for b in (True, False)], ids=lambda p: f"{p[0]}-{p[1]}")
def case(
    request: pytest.FixtureRequest, models: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    task, has_baseline = request.param
    folder = tmp_path_factory.mktemp(task)
    records(folder, rows_of(task))
    metric, bound = MISSED[task]
    config = line(
        task,
        slicing_specs=[
            {"feature_keys": ["hour"], "thresholds": {metric: {"value_threshold": bound}}},
            {"feature_keys": ["miles", "who"]},
            {"feature_keys": ["who"], "feature_values": {"hour": "6"}},
        ],
        ranges={"miles": [{"name": "short", "max": 2}, {"name": "long", "min": 2}]},
        thresholds={"example_count": {"value_threshold": {"lower_bound": 1}}},
        min_slice_size=1,
    )
    before = models(task, "p_before") if has_baseline else None
    evaluation, _ = evaluate(folder, config, models(task, "p"), before)
    yield Case(task, evaluation, str(folder / "evaluation"))


def read(value: dict[str, Any]) -> float | None:
    number = float(value["doubleValue"])
    return None if math.isnan(number) else number


def test_every_metric_of_every_slice_is_loaded(case: Case) -> None:
    import tensorflow_model_analysis as tfma

    result = tfma.load_eval_result(case.directory, model_name=case.model_name)
    assert sorted(result.get_slice_names()) == sorted(s.key for s in case.evaluation.slices)
    assert len(case.evaluation.slices) >= 9
    for ours in case.evaluation.slices:
        theirs = result.get_metrics_for_slice(ours.key)
        assert {name: read(theirs[name]) for name in ours.metrics} == ours.metrics
        differences = {f"{name}_diff": None for name in ours.metrics} if case.evaluation.has_baseline else {}
        assert set(theirs) == set(ours.metrics) | set(differences)
        for name in differences:
            now, before = ours.metrics[name[:-5]], ours.baseline[name[:-5]]
            assert read(theirs[name]) == (None if now is None or before is None else now - before)
    if case.evaluation.has_baseline:
        baseline = tfma.load_eval_result(case.directory, model_name="baseline")
        for ours in case.evaluation.slices:
            theirs = baseline.get_metrics_for_slice(ours.key)
            assert {name: read(value) for name, value in theirs.items()} == ours.baseline


def test_the_record_streams_are_tfmas(case: Case) -> None:
    import tensorflow_model_analysis as tfma

    loaded = list(tfma.load_metrics(case.directory))
    assert len(loaded) == len(case.evaluation.slices)
    # we count no plots and no attributions; TFMA's readers must find none, and not stumble
    assert not list(tfma.load_plots(case.directory)) and not list(tfma.load_attributions(case.directory))
    result = tfma.load_eval_result(case.directory, model_name=case.model_name)
    assert not result.plots and not result.attributions
    names = {spec.name for spec in result.config.model_specs}
    assert names == ({"candidate", "baseline"} if case.evaluation.has_baseline else {""})


def test_the_validation_names_what_failed_where(case: Case) -> None:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.slicer import slicer_lib

    validation = tfma.load_validation_result(case.directory)
    assert validation.validation_ok is case.evaluation.blessed is False
    assert validation.rubber_stamp is not case.evaluation.has_baseline
    assert not validation.missing_thresholds
    (failed,) = validation.metric_validations_per_slice
    assert slicer_lib.deserialize_slice_key(failed.slice_key) == (("hour", 6),)
    (failure,) = failed.failures
    name, bound = MISSED[case.task]
    assert failure.metric_key.name == name and failure.metric_key.model_name == (case.model_name or "")
    assert failure.metric_value.double_value.value == by_name(case.evaluation)["hour=6"].metrics[name]
    threshold = failure.metric_threshold.value_threshold
    found = {k: getattr(threshold, k).value for k in ("lower_bound", "upper_bound") if threshold.HasField(k)}
    assert found == bound
    assert "hour=6" in failure.message
    counted = {
        tuple(sorted([*d.slicing_spec.feature_keys, *d.slicing_spec.feature_values])): d.num_matching_slices
        for d in validation.validation_details.slicing_details
    }
    assert counted == {(): 1, ("hour",): 2}, "the specs that have thresholds, and how many slices each was held against"


def test_the_views_are_drawn_from_it(case: Case) -> None:
    import tensorflow_model_analysis as tfma

    result = tfma.load_eval_result(case.directory, model_name=case.model_name)
    metric, _ = MISSED[case.task]
    for column, spec, slices in (
        (None, None, {"Overall"}),
        ("hour", None, {"hour:5", "hour:6"}),
        (
            None,
            tfma.SlicingSpec(feature_keys=["who"], feature_values={"hour": "6"}),
            {"hour_X_who:6_X_ä", "hour_X_who:6_X_ß"},
        ),
    ):
        drawn = tfma.view.render_slicing_metrics(result, slicing_column=column, slicing_spec=spec)
        assert {entry["slice"] for entry in drawn.data} == slices
        assert all(metric in entry["metrics"][""][""] for entry in drawn.data)
        assert drawn.config["weightedExamplesColumn"] == "example_count"
    results = tfma.load_eval_results([case.directory] * 2, model_name=case.model_name)
    series = tfma.view.render_time_series(results)
    assert len(series.data) == 2
