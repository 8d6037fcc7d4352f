"""Sections of a line config about the data that comes in: label, spans, splits, schema and the data gate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from schema.base import Section

Period = Literal["day", "month", "quarter", "year"]
ColumnType = Literal["INT", "FLOAT", "BYTES"]
Policy = Literal["fail", "warn", "quarantine"]


class Label(Section):
    """What is predicted: a column of the table, or an expression over columns."""

    name: str = Field(min_length=1)
    """Name of the label. A column of the table, unless `expression` derives it."""
    expression: str | None = None
    """Derives the label from columns, e.g. `tips > 0.2 * fare`. Comparisons, arithmetic, `and`, `or`, `not` and
    column names are allowed; a result of true is 1, of false is 0. A row in which a column that it needs is missing
    has no label."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of the model's outputs. By default the sorted values seen in the data. Binary
    classification: the positive class always comes last."""
    positive: str | None = None
    """Binary classification: the class whose probability is the score. By default the last of `classes`."""


class SpanBy(Section):
    """Cuts one table into spans by a time column."""

    column: str
    """The time column."""
    period: Period = "month"
    """Length of a span. Span numbers count periods since 1970-01-01 (a quarter's is 4 * (year - 1970) + 0..3)."""
    unit: Literal["s", "ms", "us", "ns", "iso8601"] = "s"
    """How the column tells time: a count since 1970-01-01 UTC, or ISO 8601 text."""


class ExamplesConfig(Section):
    """SpanExampleGen: where rows come from and how they become spans and splits."""

    input: str = Field(min_length=1)
    """A file, or a pattern with `{SPAN}`, `{VERSION}` or `{YYYY}`, `{MM}`, `{DD}` and wildcards. Relative to the
    line.yaml. `gs://BUCKET/PATH`, `s3://BUCKET/PATH` … are found where the bucket is mounted, `package:NAME/PATH` in an
    installed Python package."""
    format: Literal["csv", "parquet", "tfrecord", "avro"] | None = None
    """File format; by default told from the file name (.csv, .parquet, .tfrecord, .tfrecord.gz, .avro)."""
    span_by: SpanBy | None = None
    """Cuts a single table into spans by time. Without it, and without a span pattern, the table is span 0."""
    columns: dict[str, ColumnType] = Field(default_factory=dict)
    """Types of columns. By default the schema's, or else the narrowest type that all spans agree on."""
    missing_values: tuple[str, ...] = ("",)
    """Field texts of a CSV that mean missing."""
    window: int | None = Field(default=None, ge=1)
    """Train on the newest N spans. By default on all."""
    allow_gaps: bool = False
    """Whether spans may be absent between the oldest and the newest of the window."""
    splits: dict[str, int] = Field(default_factory=lambda: {"train": 7, "validation": 1, "eval": 2})
    """Hash buckets a split: the share of a split is its number over the sum. `train`, `validation` and `eval` are
    required: the Trainer stops early on `validation`, the Evaluator judges on `eval`."""
    split_by: tuple[str, ...] = ()
    """Key columns that decide a row's split. By default the whole row."""
    sample: float | None = Field(default=None, gt=0, le=1)
    """Takes this share of the rows and leaves the others, for experiments: always the same rows, chosen by a hash of
    the row or of its `split_by` columns. By default all."""
    max_bad_rows: float = Field(default=0.01, ge=0, le=1)
    """The share of bad rows in a span above which the data is rejected."""
    exclude_rows: str | None = Field(default=None, min_length=1)
    """A CSV, Parquet or JSON lines file of rows to leave out, relative to the line.yaml: a row of the table that equals
    one of the file's rows in all of the file's columns. A run without it takes them back in."""

    @field_validator("splits")
    @classmethod
    def _splits_needed(cls, value: dict[str, int]) -> dict[str, int]:
        missing = {"train", "validation", "eval"} - set(value)
        if missing:
            raise ValueError(f"must name the splits train, validation and eval. Got {sorted(value)} instead")
        if any(v < 1 for v in value.values()):
            raise ValueError(f"every split must have at least one hash bucket. Got {value} instead")
        return value


class SchemaConfig(Section):
    """The curated data schema."""

    file: str = "schema.pbtxt"
    """The curated schema (TensorFlow Metadata text proto), relative to the line.yaml. When there is no such file the
    schema is inferred, and written out for review."""


class DriftComparator(Section):
    """Bounds on the distance between a feature's values in a span and in the span before."""

    infinity_norm: float | None = Field(default=None, gt=0, le=1)
    """L-infinity distance allowed for a categorical feature."""
    jensen_shannon_divergence: float | None = Field(default=None, gt=0, le=1)
    """Jensen-Shannon divergence allowed for a numeric (or categorical) feature."""

    @model_validator(mode="after")
    def _one_bound(self) -> DriftComparator:
        if self.infinity_norm is None and self.jensen_shannon_divergence is None:
            raise ValueError("must set infinity_norm or jensen_shannon_divergence. Got neither instead")
        return self


class AnomalyPolicies(Section):
    """What DataGate does about each kind of anomaly.

    `fail` rejects the data, `warn` reports it, `quarantine` keeps the rows (where the anomaly is one of rows) or the
    span (where it is not) out of training.
    """

    unexpected_value: Policy = "warn"
    """A categorical value outside the domain (`ENUM_TYPE_UNEXPECTED_STRING_VALUES`)."""
    out_of_range: Policy = "fail"
    """A number outside the schema's int_domain or float_domain."""
    unexpected_type: Policy = "fail"
    """A column of another type than the schema's."""
    missing_column: Policy = "fail"
    """A column that the schema requires is absent."""
    low_presence: Policy = "fail"
    """A column is present in fewer rows than the schema's min_fraction or min_count."""
    new_column: Policy = "warn"
    """A column that the schema does not know."""
    drift: Policy = "warn"
    """A feature is farther from the previous span than its drift_comparator allows."""
    few_examples: Policy = "warn"
    """A span has fewer examples than the schema's dataset constraints ask for."""
    other: Policy = "fail"
    """Any other kind of anomaly that TFDV reports."""


class ValidationConfig(Section):
    """ExampleValidator and DataGate."""

    anomalies: AnomalyPolicies = Field(default_factory=AnomalyPolicies)
    """The policy for each kind of anomaly."""
    drift_comparator: dict[str, DriftComparator] = Field(default_factory=dict)
    """Feature name to drift bounds. Overrides the curated schema's."""
    drift_min_examples: int = Field(default=100, ge=1)
    """A span with fewer examples (or a previous one with fewer) is too small to be judged for drift."""
