"""Sections of a line config about judging and releasing a model."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from schema.base import Section
from schema.orchestration import check_project, check_region, check_url


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


class VertexEndpointConfig(Section):
    """A Vertex AI endpoint that serves what is pushed."""

    endpoint: str
    """The endpoint's id, e.g. `1234567890`."""
    project: str
    """Google Cloud project that it is in."""
    region: str
    """Region that it is in, e.g. `europe-west4`."""
    serving_image: str
    """Image that serves the model: one of Vertex AI's prebuilt containers for TensorFlow 2, e.g.
    `europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest`."""
    machine_type: str = "n1-standard-2"
    """Machine type of each replica."""
    min_replica_count: int = Field(default=1, ge=1)
    """The least number of replicas."""
    max_replica_count: int = Field(default=1, ge=1)
    """The greatest number of replicas."""
    api_endpoint: str | None = None
    """URL of Vertex AI's API where it is not `https://REGION-aiplatform.googleapis.com`, as with Private Service
    Connect."""

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9-]{1,63}", value):
            raise ValueError(
                f"must be an endpoint's id such as 1234567890, not its display name. Got {value!r} instead"
            )
        return value

    @field_validator("project")
    @classmethod
    def _project(cls, value: str) -> str:
        return check_project(value) or value

    @field_validator("region")
    @classmethod
    def _region(cls, value: str) -> str:
        return check_region(value) or value

    @field_validator("api_endpoint")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return check_url(value)

    @model_validator(mode="after")
    def _replicas(self) -> VertexEndpointConfig:
        if self.max_replica_count < self.min_replica_count:
            raise ValueError(
                f"max_replica_count must be at least min_replica_count, {self.min_replica_count}. "
                f"Got {self.max_replica_count} instead"
            )
        return self


class SigningConfig(Section):
    """Signing: the key by which each release is signed, an Ed25519 private key without a password."""

    key_file: str | None = None
    """PEM file (PKCS8) of the private key, e.g. of `openssl genpkey -algorithm ed25519`. Others must not have access to
    it. In a compiled pipeline it is read where the Pusher runs."""
    key: str | None = Field(default=None, json_schema_extra={"secret": True})
    """The PEM text itself, as `${NAME}` from the environment of the process in which the Pusher runs."""

    @model_validator(mode="after")
    def _one_key(self) -> SigningConfig:
        if (self.key_file is None) == (self.key is None):
            raise ValueError(f"must set key_file or key. Got {'neither' if self.key is None else 'both'} instead")
        return self


class PusherConfig(Section):
    """Pusher: where blessed models go."""

    push_destination: str | None = None
    """The model base path that TensorFlow Serving reads; by default `serving_model/<line>` in the line's state."""
    keep_versions: int | None = Field(default=None, ge=2)
    """Keeps so many of the newest versions in the base path. By default all."""
    vertex_endpoint: VertexEndpointConfig | None = None
    """Deploys what is pushed to a Vertex AI endpoint. The base path must be in a mounted bucket."""
    signing: SigningConfig | None = None
    """Signs each release. By default releases are not signed."""


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
