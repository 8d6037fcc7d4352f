"""The feature plan: what Transform made of the raw columns, as the Tuner, the Trainer and the server read it.

Pure pydantic, importable without TensorFlow. The plan is written as `features.json` into the transform graph, beside
TFT's own `transform_fn`, so that it always travels with the graph that it describes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from schema.base import Handover
from schema.errors import ConveyorError

FEATURES_FILE = "features.json"

ColumnType = Literal["INT", "FLOAT", "BYTES"]


class FeatureOutput(Handover):
    """One tensor that the transform graph makes."""

    name: str
    """Key of the tensor in the transformed features."""
    kind: Literal["dense", "categorical"]
    """`dense`: float32, shape (batch,), finite. `categorical`: int64, shape (batch,), in [0, cardinality)."""
    cardinality: int | None = Field(default=None, ge=1)
    """Categorical: how many indices there are; null for dense."""
    column: str
    """The raw column that it comes from (a cross: its columns joined by `*`)."""
    role: Literal["deep", "wide"] = "deep"
    """`deep`: into the deep part (dense: as it is, categorical: as an embedding). `wide`: for the linear part only."""
    description: str = ""
    """What it is, in words."""


class LabelPlan(Handover):
    """The label, and how it is transformed."""

    name: str
    """The raw label's name."""
    key: str
    """Key of the transformed label: int64 class index, or float32. -1 or NaN where the label is absent."""
    kind: Literal["class_index", "number"]
    """`class_index`: an index into `classes`. `number`: the value itself."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of the model's outputs; null for a number."""
    positive: str | None = None
    """Binary classification: the class whose probability is the score. It is always the last of `classes`."""
    class_counts: tuple[int, ...] | None = None
    """Rows of the train split in each class, in the order of `classes`."""
    mean: float | None = None
    """A number: its mean over the train split."""
    std: float | None = None
    """A number: its population standard deviation over the train split."""


class FeaturePlan(Handover):
    """Everything that a model needs to know about the transformed features."""

    columns: dict[str, ColumnType]
    """Raw columns that the graph reads, without the label. A server needs no others."""
    label: LabelPlan
    """The label."""
    outputs: tuple[FeatureOutput, ...]
    """The transformed features, in a fixed order."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Columns that are no features, each with the reason."""
    treatments: dict[str, str] = Field(default_factory=dict)
    """Column to the treatment that it got, in words."""
    train_rows: int = 0
    """Rows of the train split that the constants were computed from."""
    reads_stand_ins: bool = False
    """Whether NaN, the least int64 and the empty text are read as missing values, as the built-in features do. A line's
    own `preprocessing_fn` must not be given them."""

    @property
    def dense(self) -> tuple[FeatureOutput, ...]:
        """The dense outputs, in order."""
        return tuple(o for o in self.outputs if o.kind == "dense")

    @property
    def categorical(self) -> tuple[FeatureOutput, ...]:
        """The categorical outputs, in order, wide ones included."""
        return tuple(o for o in self.outputs if o.kind == "categorical")


def save_plan(plan: FeaturePlan, transform_graph_uri: str) -> None:
    """Writes `plan` into a transform graph artifact.

    Args:
        plan: the plan.
        transform_graph_uri: URI of the TransformGraph artifact; the folder must exist.
    """
    text = plan.canonical() + "\n"
    if "://" in transform_graph_uri:
        from tfx.dsl.io import fileio

        with fileio.open(f"{transform_graph_uri.rstrip('/')}/{FEATURES_FILE}", "w") as f:
            f.write(text)
        return
    (Path(transform_graph_uri) / FEATURES_FILE).write_text(text, encoding="utf-8")


def load_plan(transform_graph_uri: str) -> FeaturePlan:
    """Reads the plan of a transform graph artifact.

    Args:
        transform_graph_uri: URI of the TransformGraph artifact.

    Returns:
        The plan.

    Raises:
        ConveyorError: the graph has no plan, so another Transform than Conveyor's made it.
    """
    path = f"{transform_graph_uri.rstrip('/')}/{FEATURES_FILE}"
    try:
        if "://" in transform_graph_uri:
            from tfx.dsl.io import fileio

            with fileio.open(path, "r") as f:
                text = f.read()
        else:
            text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        raise ConveyorError(
            f"{path} must hold the feature plan of the transform graph. Got {type(e).__name__} instead",
            hint="take a transform graph that Conveyor's Transform made",
        ) from e
    return FeaturePlan.model_validate_json(text)
