"""Rows of a table as serialized tf.Examples of a model's raw columns, and what is wrong with those that do not fit.

What fits and what is said of the rest is decided by the code that `conveyor predict` uses, so that both agree.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from components.bulk_inferrer.part_rows import ERROR
from data.examples import encode_examples
from data.span_cut import combined
from schema.errors import ReleaseError
from serving import messages
from serving.client.arrow_values import read_column
from serving.client.rules import ColumnRule
from serving.client.signatures import RAW, Metadata, SignatureSpec, TensorSpec, read_signatures
from serving.client.values import FLOATS, INTEGERS, Column, finish


@dataclasses.dataclass(frozen=True)
class ModelRows:
    """Rows, ready for a model.

    Attributes:
        examples: binary (m,), the tf.Examples of the rows that fit.
        good: int64 (m,), their positions, ascending.
        errors: what is wrong with each of the others, by position.
    """

    examples: pa.Array
    good: np.ndarray
    errors: Mapping[int, str]


def metadata_of(signature_defs: Mapping[str, Any], model: str, version: int) -> Metadata:
    """Returns what a server of the model would say about it.

    Args:
        signature_defs: signature key to TensorFlow's SignatureDef.
        model: the model's name.
        version: its version.
    """
    signatures = messages.SignatureDefMap()
    for key, proto in signature_defs.items():
        signatures.signature_def[key].CopyFrom(messages.SignatureDef.FromString(proto.SerializeToString()))
    return Metadata(model, version, read_signatures(signatures))


def examples_signature(metadata: Metadata, name: str) -> tuple[SignatureSpec, str]:
    """Returns a signature that takes serialized tf.Examples, and the name of its input.

    Raises:
        UsageError: there is none of that name.
        ReleaseError: it takes something else, or nothing tells the model's raw columns.
    """
    signature = metadata.signature(name)
    specs = list(signature.inputs.values())
    if len(specs) != 1 or specs[0].dtype != "string" or specs[0].shape not in ((None,), None) or name == RAW:
        raise ReleaseError(
            f"the signature must take serialized tf.Examples. Got {name!r} instead, which takes "
            f"{', '.join(signature.inputs) or 'nothing'}",
            hint="leave --signature-name out: serving_default answers the same as serving_raw",
        )
    raw = metadata.signatures.get(RAW)
    if raw is None or any(not _fits(spec) for spec in raw.inputs.values()):
        raise ReleaseError(
            f"the model must have a signature {RAW} that tells its raw columns. "
            f"Got {', '.join(metadata.signatures) or 'no signature'} instead",
            hint="push a model that Conveyor has trained",
        )
    return signature, specs[0].name


def raw_columns(metadata: Metadata) -> dict[str, TensorSpec]:
    """Returns the model's raw columns by name, each able to be missing: a tf.Example just leaves it out."""
    found = {}
    for name, spec in metadata.signatures[RAW].inputs.items():
        blank = np.array([b""], object) if spec.dtype == "string" else np.zeros(1, spec.numpy_dtype)
        found[name] = dataclasses.replace(spec, default=blank)
    return found


def encode(table: pa.Table, columns: Mapping[str, TensorSpec], rules: Mapping[str, ColumnRule]) -> ModelRows:
    """Encodes rows.

    Args:
        table: rows as `part_rows` gives them.
        columns: the model's raw columns; one that the table lacks is missing in every row.
        rules: the curated schema's rules by column.
    """
    unread = {row: text for row, text in enumerate(table.column(ERROR).to_pylist()) if text is not None}
    keep = np.ones(table.num_rows, bool)
    keep[list(unread)] = False
    position = np.flatnonzero(keep)
    if unread:
        table = table.filter(pa.array(keep))
    arrays: dict[str, pa.Array] = {}
    problems: list[tuple[int, str, str]] = []
    for name, spec in columns.items():
        raw = combined(table.column(name)) if name in table.column_names else pa.nulls(table.num_rows)
        column = finish(read_column(raw, spec), spec, rules.get(name))
        problems += [(row, name, text) for row, text in column.wrong.items()]
        arrays[name] = _array(column, spec)
    reasons: dict[int, list[str]] = {}
    for row, _, text in sorted(problems):
        reasons.setdefault(row, []).append(text)
    fits = np.ones(table.num_rows, bool)
    fits[list(reasons)] = False
    examples = encode_examples(arrays) if table.num_rows else pa.array([], pa.binary())
    errors = unread | {int(position[row]): "; ".join(texts) for row, texts in reasons.items()}
    return ModelRows(examples.filter(pa.array(fits)) if reasons else examples, position[fits], errors)


def _fits(spec: TensorSpec) -> bool:
    return spec.by_row and spec.row_shape == () and spec.dtype in (*FLOATS, *INTEGERS, "string")


def _array(column: Column, spec: TensorSpec) -> pa.Array:
    missing = np.array(column.missing)
    missing[list(column.wrong)] = True
    if spec.dtype == "string":
        return pa.array(column.values, pa.binary(), mask=missing)
    kind = (np.float32, pa.float32()) if spec.dtype in FLOATS else (np.int64, pa.int64())
    return pa.array(column.values.astype(kind[0]), kind[1], mask=missing)
