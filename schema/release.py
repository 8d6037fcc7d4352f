"""Sections of a line config about judging and releasing a model."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from schema.base import Section


class ValueThreshold(Section):
    """Bounds on a metric's value."""

    lower_bound: float | None = None
    """The least value allowed."""
    upper_bound: float | None = None
    """The greatest value allowed."""

    @model_validator(mode="after")
    def _one_bound(self) -> ValueThreshold:
        if self.lower_bound is None and self.upper_bound is None:
            raise ValueError("must set lower_bound or upper_bound. Got neither instead")
        return self


class ChangeThreshold(Section):
    """Bounds on a metric's change against the baseline, the model now served."""

    absolute: float | None = None
    """Least improvement in the metric's own unit; negative allows it to get worse by so much."""
    relative: float | None = None
    """Least improvement as a share of the baseline's value; negative allows it to get worse by so much."""
    direction: Literal["HIGHER_IS_BETTER", "LOWER_IS_BETTER"]
    """Which way the metric is better."""

    @model_validator(mode="after")
    def _one_bound(self) -> ChangeThreshold:
        if self.absolute is None and self.relative is None:
            raise ValueError("must set absolute or relative. Got neither instead")
        return self


class MetricThreshold(Section):
    """What a metric must reach for the model to be blessed."""

    value_threshold: ValueThreshold | None = None
    """Bounds on the value."""
    change_threshold: ChangeThreshold | None = None
    """Bounds on the change against the baseline."""


class NumericRange(Section):
    """A named range of a numeric feature, `min <= value < max`."""

    name: str
    """The slice's name, e.g. `short`."""
    min: float | None = None
    """Least value, included."""
    max: float | None = None
    """Greatest value, excluded."""


class SlicingSpec(Section):
    """Slices of the eval split. No key at all means the whole of it."""

    feature_keys: tuple[str, ...] = ()
    """A slice for each value (or crossed values) of these raw columns."""
    feature_values: dict[str, str] = Field(default_factory=dict)
    """Only rows in which these columns have these values."""
    thresholds: dict[str, MetricThreshold] = Field(default_factory=dict)
    """Metric name to what it must reach in each of these slices."""


class EvaluatorConfig(Section):
    """Evaluator: metrics over slices, and what they must reach."""

    slicing_specs: tuple[SlicingSpec, ...] = ()
    """Slices to report and judge. The overall slice is always there."""
    ranges: dict[str, tuple[NumericRange, ...]] = Field(default_factory=dict)
    """Numeric columns in named ranges; in `slicing_specs` such a column is sliced by range."""
    thresholds: dict[str, MetricThreshold] = Field(default_factory=dict)
    """Metric name to what it must reach overall."""
    min_slice_size: int = Field(default=100, ge=1)
    """A slice with fewer examples is reported as too small to judge and blocks nothing."""
    fairness: tuple[str, ...] = ()
    """Sensitive columns: fairness indicators are computed for each of their values."""
    fairness_thresholds: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Decision thresholds of the fairness indicators."""
    confusion_thresholds: tuple[float, ...] = (0.5,)
    """Binary classification: decision thresholds of the confusion matrices."""


class InfraValidatorConfig(Section):
    """InfraValidator: can the candidate be served?"""

    num_examples: int = Field(default=32, ge=2)
    """Canned requests taken from the eval split."""
    p99_latency_ms: float = Field(default=200.0, gt=0)
    """The latency budget of a single-row request, at the 99th percentile."""
    timeout_seconds: float = Field(default=180.0, gt=0)
    """After so long the validating process is taken for hung."""


class PusherConfig(Section):
    """Pusher: where blessed models go."""

    push_destination: str | None = None
    """The model base path that TensorFlow Serving reads; by default `serving_model/<line>` in the line's state."""
    keep_versions: int | None = Field(default=None, ge=2)
    """Keeps so many of the newest versions in the base path. By default all."""


class BeamConfig(Section):
    """Beam: how the data-parallel components run."""

    direct_num_workers: int = Field(default=0, ge=0)
    """Workers of the DirectRunner; 0 takes one a core when the input is large and one otherwise."""
    direct_running_mode: Literal["auto", "in_memory", "multi_threading", "multi_processing"] = "auto"
    """`auto` is in_memory for small inputs (new processes cost more than they save) and multi_processing above
    `large_input_bytes`."""
    large_input_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    """What `auto` takes for a large input."""
    pipeline_args: tuple[str, ...] = ()
    """Further options handed to Beam as they are."""


class MetadataConfig(Section):
    """ML Metadata: where the record of runs is kept."""

    backend: Literal["sqlite", "mysql"] = "sqlite"
    """SQLite in the line's state, or a server of MySQL or MariaDB, which many lines may share. ML Metadata's client
    logs in by `mysql_native_password` alone: the way of MariaDB's `CREATE USER ... IDENTIFIED BY ...`; MySQL 8 wants
    `IDENTIFIED WITH mysql_native_password BY ...`, and MySQL 9 has it no more. Any character set and collation will do.
    Whoever runs the same line on the same database must have the same state folder."""
    host: str | None = None
    """MySQL host, reached by TCP, also when it is `localhost`."""
    port: int = Field(default=3306, ge=1, le=65535)
    """MySQL port."""
    database: str | None = None
    """MySQL database: letters, digits and underscores. `user` needs all rights on it; ML Metadata makes it when it is
    not there and `user` may."""
    user: str | None = None
    """MySQL user."""
    password: str | None = Field(default=None, json_schema_extra={"secret": True})
    """MySQL password; give it as `${NAME}` from the environment."""

    @field_validator("database")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        # ML Metadata writes it into its SQL without quotes.
        if value is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
            raise ValueError(
                f"must be letters, digits and underscores, no digit first and at most 64 of them. Got {value!r} instead"
            )
        return value

    @model_validator(mode="after")
    def _server(self) -> MetadataConfig:
        if self.backend == "mysql" and not (self.host and self.database and self.user):
            raise ValueError("must set host, database and user for backend mysql")
        return self
