"""The recipe: every constant that the transform graph needs.

A recipe is plain data. `compile.py` computes it from the config and the merged analysis, `preprocessing.py` turns it
into TensorFlow operations and does no arithmetic of its own on the training data, so a recipe and its vocabulary files
determine the graph.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.transform.plan import ColumnType, LabelPlan
from schema.base import Handover

RECIPE_FILE = "recipe.json"


class NumberStep(Handover):
    """A dense number: impute, clip, log, subtract, divide, bound."""

    kind: Literal["number"] = "number"
    name: str
    column: str
    impute: float
    clip: tuple[float, float] | None = None
    log: bool = False
    subtract: float = 0.0
    divide: float = 1.0
    bounds: tuple[float, float] = (-1e6, 1e6)
    """The result is kept in here, so that no input makes it infinite."""


class MissingStep(Handover):
    """A dense 1 where the value is missing, 0 elsewhere."""

    kind: Literal["missing"] = "missing"
    name: str
    column: str


class BucketStep(Handover):
    """0 where missing, else 1 + the number of boundaries <= x."""

    kind: Literal["bucket"] = "bucket"
    name: str
    column: str
    boundaries: tuple[float, ...]


class VocabularyStep(Handover):
    """0 where missing, else 1 + the line number in the vocabulary, else an out-of-vocabulary bucket after it."""

    kind: Literal["vocabulary"] = "vocabulary"
    name: str
    column: str
    file: str
    size: int
    num_oov_buckets: int


class HashStep(Handover):
    """0 where missing, else 1 + the hash bucket of the text."""

    kind: Literal["hash"] = "hash"
    name: str
    column: str
    buckets: int


class CalendarStep(Handover):
    """0 where missing (or no time), else 1 + the calendar part."""

    kind: Literal["calendar"] = "calendar"
    name: str
    column: str
    unit: str
    part: str


class CrossStep(Handover):
    """The hash bucket of the columns' texts, bucket numbers and calendar parts together."""

    kind: Literal["cross"] = "cross"
    name: str
    columns: tuple[str, ...]
    boundaries: dict[str, tuple[float, ...]]
    calendars: dict[str, tuple[str, tuple[str, ...]]]
    buckets: int


Step = Annotated[
    NumberStep | MissingStep | BucketStep | VocabularyStep | HashStep | CalendarStep | CrossStep,
    Field(discriminator="kind"),
]


class Recipe(Handover):
    """All constants of a transform graph, vocabularies apart."""

    columns: dict[str, ColumnType]
    """Raw columns and the label."""
    steps: tuple[Step, ...]
    label: LabelPlan


def text_of(value: bytes | int | float, column_type: str) -> bytes:
    """Returns the text by which a value is a category: whole numbers in decimal, others with six digits."""
    if isinstance(value, bytes):
        return value
    if column_type == "INT" or (float(value).is_integer() and abs(value) < 1e15):
        return str(int(value)).encode()
    return f"{value:.6f}".encode()
