"""Computes the recipe: the constants of every treatment, from the merged analysis."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.transform.analysis import Analysis, ColumnAnalysis
from components.transform.calendar import PART_SIZE
from components.transform.choices import Choices
from components.transform.label import plan_label
from components.transform.plan import ColumnType, FeatureOutput, FeaturePlan
from components.transform.recipe import (
    BucketStep,
    CalendarStep,
    CrossStep,
    HashStep,
    MissingStep,
    NumberStep,
    Recipe,
    Step,
    VocabularyStep,
    text_of,
)
from schema.errors import ConfigError
from schema.features import Bucketized, Categorical, Cross, Feature, Hashed, Numeric, Timestamp
from schema.ingest import Label

CROSS_BUCKETS = 10
"""Quantile buckets of a number in a cross, when its treatment names none."""


@dataclass(frozen=True)
class Compiled:
    """A recipe with its vocabularies and the plan that describes it.

    Attributes:
        recipe: the constants.
        vocabularies: file name to its entries, most frequent first (ties bytewise).
        plan: what models and servers read.
    """

    recipe: Recipe
    vocabularies: dict[str, tuple[bytes, ...]]
    plan: FeaturePlan


def compile_recipe(
    choices: Choices,
    crosses: tuple[Cross, ...],
    analysis: Analysis,
    label: Label,
    task: str,
) -> Compiled:
    """Computes the constants of every treatment.

    Args:
        choices: treatments and columns left out.
        crosses: the config's crosses.
        analysis: the merged analysis of the train split, the label included.
        label: the label section.
        task: binary_classification, multiclass_classification or regression.

    Returns:
        Recipe, vocabularies and plan.

    Raises:
        ConfigError: there is no feature at all, or the label does not fit the task.
    """
    builder = _Builder(analysis)
    for column, feature in choices.treatments.items():
        builder.add(column, feature)
    for cross in crosses:
        builder.add_cross(cross, choices.treatments)
    if not builder.steps:
        raise ConfigError(
            "the data must have at least one column that is a feature. Got none instead",
            hint="; ".join(f"{c}: {why}" for c, why in choices.left_out.items()) or "add columns to the table",
        )
    label_plan = plan_label(label, task, analysis.columns[label.name])
    used = {c for s in builder.steps for c in (s.columns if isinstance(s, CrossStep) else (s.column,))}
    types: dict[str, ColumnType] = {c: analysis.columns[c].type for c in sorted(used)}  # type: ignore[misc]
    plan = FeaturePlan(
        columns=types,
        label=label_plan,
        outputs=tuple(builder.outputs),
        left_out={c: why for c, why in choices.left_out.items() if c not in used},
        treatments={c: f.model_dump_json(exclude_defaults=True) for c, f in choices.treatments.items()},
        train_rows=analysis.rows,
        reads_stand_ins=True,
    )
    recipe = Recipe(
        columns={**types, label.name: analysis.columns[label.name].type},  # type: ignore[dict-item]
        steps=tuple(builder.steps),
        label=label_plan,
    )
    return Compiled(recipe, builder.vocabularies, plan)


class _Builder:
    """Collects steps, outputs and vocabularies under names of which each is used once."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.steps: list[Step] = []
        self.outputs: list[FeatureOutput] = []
        self.vocabularies: dict[str, tuple[bytes, ...]] = {}
        self._names: set[str] = set()

    def add(self, column: str, feature: Feature) -> None:
        known = self.analysis.columns[column]
        if isinstance(feature, Numeric):
            self._number(column, feature, known)
        elif isinstance(feature, Bucketized):
            self._bucket(column, known, feature.buckets)
        elif isinstance(feature, Categorical):
            self._vocabulary(column, feature, known)
        elif isinstance(feature, Hashed):
            step = HashStep(name=self._name(column, "hash"), column=column, buckets=feature.hash_buckets)
            self._categorical(step, column, 1 + feature.hash_buckets, f"hash bucket of {column}")
        elif isinstance(feature, Timestamp):
            for part in feature.parts:
                step_ = CalendarStep(name=self._name(column, part), column=column, unit=feature.unit, part=part)
                self._categorical(step_, column, 1 + PART_SIZE[part], f"{part.replace('_', ' ')} of {column}")
        # every index has one of its own for missing, so only a number needs an indicator
        wanted = feature.missing_indicator
        if wanted or (wanted is None and isinstance(feature, Numeric) and known.missing):
            missing = MissingStep(name=self._name(column, "missing"), column=column)
            self._dense(missing, column, f"1 where {column} is missing")

    def add_cross(self, cross: Cross, treatments: Mapping[str, Feature]) -> None:
        boundaries: dict[str, tuple[float, ...]] = {}
        calendars: dict[str, tuple[str, tuple[str, ...]]] = {}
        for column in cross.columns:
            known, feature = self.analysis.columns[column], treatments.get(column)
            if isinstance(feature, Timestamp):
                calendars[column] = (feature.unit, feature.parts)
            elif known.type != "BYTES" and not isinstance(feature, (Categorical, Hashed)):
                buckets = getattr(feature, "buckets", None) or CROSS_BUCKETS
                boundaries[column] = tuple(known.points.boundaries(buckets))
        step = CrossStep(
            name=self._name("_x_".join(cross.columns), "hash"),
            columns=cross.columns,
            boundaries=boundaries,
            calendars=calendars,
            buckets=cross.hash_buckets,
        )
        text = f"hash bucket of {' and '.join(cross.columns)} together"
        self._categorical(step, "*".join(cross.columns), cross.hash_buckets, text, "wide")

    def _number(self, column: str, feature: Numeric, known: ColumnAnalysis) -> None:
        points, moments, log_moments = known.points, known.moments, known.log_moments
        assert moments is not None and log_moments is not None
        low, high = float(known.min or 0), float(known.max or 0)
        impute = {"mean": moments.mean, "median": points.quantile(0.5), "zero": 0.0}[feature.impute]
        clip = None
        if feature.clip_quantiles is not None:
            low, high = clip = (points.quantile(feature.clip_quantiles[0]), points.quantile(feature.clip_quantiles[1]))
        subtract, divide, bounds = 0.0, 1.0, (-1e6, 1e6)
        if feature.scale == "min_max":
            subtract, divide, bounds = low, high - low, (0.0, 1.0)
        elif feature.scale in ("z_score", "log"):
            log = feature.scale == "log"
            if clip is not None and len(points.values):
                subtract, divide = points.moments_within(low, high, log)
            else:
                exact = log_moments if log else moments
                subtract, divide = exact.mean, exact.std
        else:
            bounds = (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max))
        step = NumberStep(
            name=self._name(column, {"none": "number"}.get(feature.scale, feature.scale)),
            column=column,
            impute=impute,
            clip=clip,
            log=feature.scale == "log",
            subtract=subtract,
            # a constant becomes 0
            divide=divide if divide > 0 else 1.0,
            bounds=bounds,
        )
        self._dense(step, column, f"{column}, {feature.scale}")
        if feature.buckets:
            self._bucket(column, known, feature.buckets)

    def _bucket(self, column: str, known: ColumnAnalysis, buckets: int) -> None:
        boundaries = tuple(known.points.boundaries(buckets))
        step = BucketStep(name=self._name(column, "bucket"), column=column, boundaries=boundaries)
        self._categorical(step, column, 2 + len(boundaries), f"quantile bucket of {column}")

    def _vocabulary(self, column: str, feature: Categorical, known: ColumnAnalysis) -> None:
        entries: dict[bytes, int] = {}
        for value, count in zip(known.counts.values.to_pylist(), known.counts.counts, strict=True):
            text = text_of(value, known.type)
            # a vocabulary file has a line an entry, and TensorFlow drops carriage returns
            if b"\n" not in text and b"\r" not in text:
                entries[text] = entries.get(text, 0) + int(count)
        kept = sorted((-n, text) for text, n in entries.items() if n >= feature.frequency_threshold)
        words = tuple(text for _, text in kept[: feature.top_k])
        name = self._name(column, "index")
        # TFTransformOutput.vocabulary_by_name looks for an asset of exactly the name that it is given
        file = re.sub(r"[^A-Za-z0-9_]", "_", name)
        while file in self.vocabularies:
            file += "_"
        self.vocabularies[file] = words
        step = VocabularyStep(
            name=name, column=column, file=file, size=len(words), num_oov_buckets=feature.num_oov_buckets
        )
        self._categorical(step, column, 1 + len(words) + feature.num_oov_buckets, f"vocabulary index of {column}")

    def _name(self, column: str, suffix: str) -> str:
        name = f"{column}_{suffix}"
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def _dense(self, step: NumberStep | MissingStep, column: str, text: str) -> None:
        self.steps.append(step)
        self.outputs.append(FeatureOutput(name=step.name, kind="dense", column=column, description=text))

    def _categorical(
        self, step: Step, column: str, cardinality: int, text: str, role: Literal["deep", "wide"] = "deep"
    ) -> None:
        self.steps.append(step)
        self.outputs.append(
            FeatureOutput(
                name=step.name, kind="categorical", cardinality=cardinality, column=column, role=role, description=text
            )
        )
