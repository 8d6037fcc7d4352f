"""What the Evaluator needs of a line, checked, and as a `tfma.EvalConfig`."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from components.evaluator import metric_names
from schema.base import Handover
from schema.errors import ConfigError
from schema.release import EvaluatorConfig, MetricThreshold, NumericRange, SlicingSpec

if TYPE_CHECKING:
    from schema.line import Line

CANDIDATE = "candidate"
BASELINE = "baseline"
LABEL_SUFFIX = "_xf"
EVALUATION_SIGNATURE = "evaluation"
PREDICT_SIGNATURE = "serving_default"


class EvaluationConfig(Handover):
    """The parts of a line that an evaluation depends on, and no others."""

    task: Literal["binary_classification", "multiclass_classification", "regression"]
    """The line's task."""
    label: str
    """Name of the label."""
    classes: tuple[str, ...] | None = None
    """Class names in the model's order, where the line names them."""
    evaluator: EvaluatorConfig
    """The line's `evaluator` section."""

    @classmethod
    def of(cls, line: Line) -> EvaluationConfig:
        """Takes from a line what concerns its evaluation.

        Raises:
            ConfigError: see `check`.
        """
        config = cls(task=line.task, label=line.label.name, classes=line.label.classes, evaluator=line.evaluator)
        config.check()
        return config

    @property
    def label_key(self) -> str:
        """Name of the transformed label that the model's `evaluation` signature gives."""
        return self.label + LABEL_SUFFIX

    @property
    def prediction_key(self) -> str:
        """Name of the model's output that is judged."""
        return "predictions" if self.task == "regression" else "probabilities"

    @property
    def fairness_thresholds(self) -> tuple[float, ...]:
        """Decision thresholds of the fairness indicators; none when no sensitive column is named."""
        return self.evaluator.fairness_thresholds if self.evaluator.fairness else ()

    def slicing_specs(self) -> list[SlicingSpec]:
        """Returns the slices to compute: the overall one, the configured ones, and one a sensitive column.

        The overall spec carries the line's overall thresholds (and those of a configured spec without keys).
        """
        overall = dict(self.evaluator.thresholds)
        specs = []
        for spec in self.evaluator.slicing_specs:
            if spec.feature_keys or spec.feature_values:
                specs.append(spec)
            else:
                overall.update(spec.thresholds)
        known = {spec.feature_keys for spec in specs if not spec.feature_values}
        specs += [SlicingSpec(feature_keys=(c,)) for c in self.evaluator.fairness if (c,) not in known]
        return [SlicingSpec(thresholds=overall), *specs]

    def check(self) -> None:
        """Checks what the config's types cannot.

        Raises:
            ConfigError: a threshold names a metric that the task does not have; a column is both in `feature_keys` and
                `feature_values` of one spec; ranges of a column overlap, are empty or share a name; or
                `feature_values` names a range that there is not.
        """
        names = metric_names.metric_names(
            self.task,
            classes=self.classes,
            confusion_thresholds=self.evaluator.confusion_thresholds,
            fairness_thresholds=self.fairness_thresholds,
        )
        places = [("evaluator.thresholds", self.evaluator.thresholds)]
        for i, spec in enumerate(self.evaluator.slicing_specs):
            places.append((f"evaluator.slicing_specs[{i}].thresholds", spec.thresholds))
            self._check_spec(f"evaluator.slicing_specs[{i}]", spec)
        for place, thresholds in places:
            for name in thresholds:
                if name not in names and not metric_names.may_name_class(self.task, self.classes, name):
                    raise ConfigError(
                        f"{place}: {name!r} must be a metric of a {self.task} line, one of {', '.join(names)}. "
                        f"Got {name!r} instead",
                        hint=_nearest(name, names),
                    )
        for column, ranges in self.evaluator.ranges.items():
            _check_ranges(f"evaluator.ranges.{column}", ranges)

    def _check_spec(self, place: str, spec: SlicingSpec) -> None:
        both = sorted(set(spec.feature_keys) & set(spec.feature_values))
        if both:
            raise ConfigError(
                f"{place}: {both[0]!r} must be in feature_keys or in feature_values. Got it in both instead"
            )
        for column, value in spec.feature_values.items():
            allowed = [r.name for r in self.evaluator.ranges.get(column, ())]
            if allowed and value not in allowed:
                raise ConfigError(
                    f"{place}.feature_values.{column} must be one of its ranges, {', '.join(allowed)}. "
                    f"Got {value!r} instead",
                    hint=_nearest(value, allowed),
                )


def eval_config(config: EvaluationConfig, *, has_baseline: bool) -> dict[str, Any]:
    """Returns the `tfma.EvalConfig` of an evaluation, as proto3 JSON.

    TFMA's change thresholds bound the raw difference (at most, for LOWER_IS_BETTER); ours bound the improvement (at
    least). So their sign differs for metrics that are better when lower. Overall thresholds are given for the slice
    without keys: what stands in TFMA's own field `thresholds` is held against every slice.

    Args:
        config: what to evaluate.
        has_baseline: whether there is a model to compare with. Without, there are no change thresholds.
    """
    specs = config.slicing_specs()
    per_slice: dict[str, list[Any]] = {}
    for spec in specs:
        for name, threshold in sorted(spec.thresholds.items()):
            if bounds := _threshold(threshold, has_baseline):
                per_slice.setdefault(name, []).append({"slicingSpecs": [slicing_spec(spec)], "threshold": bounds})
    metrics: dict[str, Any] = {
        "perSliceThresholds": {name: {"thresholds": entries} for name, entries in sorted(per_slice.items())}
    }
    models = [_model_spec(config, CANDIDATE if has_baseline else "")]
    if has_baseline:
        models.append({**_model_spec(config, BASELINE), "isBaseline": True})
    metrics["modelNames"] = [model["name"] for model in models]
    return {
        "modelSpecs": models,
        "slicingSpecs": [slicing_spec(spec) for spec in specs],
        "metricsSpecs": [metrics],
        "options": {"includeDefaultMetrics": False},
    }


def eval_config_proto(config: EvaluationConfig, *, has_baseline: bool) -> Any:
    """Returns the same as a `tfma.EvalConfig` message."""
    from google.protobuf import json_format
    from tensorflow_model_analysis.proto import config_pb2

    return json_format.ParseDict(eval_config(config, has_baseline=has_baseline), config_pb2.EvalConfig())


def _model_spec(config: EvaluationConfig, name: str) -> dict[str, Any]:
    return {
        "name": name,
        # Without it TFMA tries to load each model as a Keras model first, which costs seconds and then fails.
        "modelType": "tf_generic",
        "signatureName": PREDICT_SIGNATURE,
        "preprocessingFunctionNames": [EVALUATION_SIGNATURE],
        "labelKey": config.label_key,
        "predictionKey": config.prediction_key,
    }


def slicing_spec(spec: SlicingSpec) -> dict[str, Any]:
    """Returns a `tfma.SlicingSpec` as proto3 JSON."""
    result: dict[str, Any] = {}
    if spec.feature_keys:
        result["featureKeys"] = list(spec.feature_keys)
    if spec.feature_values:
        result["featureValues"] = dict(sorted(spec.feature_values.items()))
    return result


def metric_threshold(bound: dict[str, Any], kind: str) -> dict[str, Any]:
    """Returns a `tfma.MetricThreshold` as proto3 JSON.

    Args:
        bound: a `ValueThreshold` or `ChangeThreshold` as JSON.
        kind: `value_threshold` or `change_threshold`.
    """
    if kind == "value_threshold":
        bounds = {"lowerBound": bound["lower_bound"], "upperBound": bound["upper_bound"]}
        return {"valueThreshold": {key: value for key, value in bounds.items() if value is not None}}
    sign = -1.0 if bound["direction"] == "LOWER_IS_BETTER" else 1.0
    # + 0.0 turns -0.0 into 0.0
    bounds = {key: sign * bound[key] + 0.0 for key in ("absolute", "relative") if bound[key] is not None}
    return {"changeThreshold": {"direction": bound["direction"], **bounds}}


def _threshold(threshold: MetricThreshold, has_baseline: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if threshold.value_threshold is not None:
        result.update(metric_threshold(threshold.value_threshold.model_dump(), "value_threshold"))
    if threshold.change_threshold is not None and has_baseline:
        result.update(metric_threshold(threshold.change_threshold.model_dump(), "change_threshold"))
    return result


def _check_ranges(place: str, ranges: Iterable[NumericRange]) -> None:
    seen: set[str] = set()
    for r in ranges:
        if r.name in seen:
            raise ConfigError(f"{place}: names of ranges must differ. Got {r.name!r} twice instead")
        seen.add(r.name)
        if not _low(r) < _high(r):
            raise ConfigError(f"{place}: range {r.name!r} must have min < max. Got min {r.min} and max {r.max} instead")
    for a, b in itertools.pairwise(sorted(ranges, key=_low)):
        if _high(a) > _low(b):
            raise ConfigError(
                f"{place}: ranges must not overlap. Got {a.name!r} (max {a.max}) and {b.name!r} (min {b.min}) instead",
                hint="max is excluded: the next range's min may be the same number",
            )


def _low(r: NumericRange) -> float:
    return -math.inf if r.min is None else r.min


def _high(r: NumericRange) -> float:
    return math.inf if r.max is None else r.max


def _nearest(given: str, allowed: Iterable[str]) -> str:
    matches = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.4)
    return f"did you mean {matches[0]!r}?" if matches else ""
