"""Raw rows as what a signature takes, a tensor a column or tf.Examples, and what is wrong with rows that do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schema.errors import UsageError
from serving.client.errors import BadRows, Problem
from serving.client.examples import Features, open_examples
from serving.client.rows import RawColumns, Rows, gather
from serving.client.rules import ColumnRule
from serving.client.signatures import RAW, Metadata, SignatureSpec, TensorSpec
from serving.client.values import FLOATS, INTEGERS, Column, finish, read_values

_DTYPES = {"INT": "int64", "FLOAT": "float32", "BYTES": "string"}


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Rows that are ready to be sent.

    Attributes:
        total: how many rows were given.
        good: int64 (m,), the positions of the rows that fit, ascending.
        tensors: input key to array, (m, ...) where it has a row each; inputs that have none keep their one value.
        examples: the m rows as tf.Examples, where the signature takes those; else None.
        problems: what is wrong with the others, by row.
        unused: columns that the rows have and the model does not take.
    """

    total: int
    good: np.ndarray
    tensors: Mapping[str, np.ndarray]
    examples: Sequence[Features] | None
    problems: tuple[Problem, ...]
    unused: tuple[str, ...] = ()

    def checked(self) -> Encoded:
        """Returns itself.

        Raises:
            BadRows: not every row fits.
        """
        if self.problems:
            raise BadRows(self.problems, self.total)
        return self


class Encoder:
    """Encodes rows for a signature.

    Args:
        metadata: what the server says about the model.
        signature: the signature that will be called.
        rules: the curated schema's rules by column; empty without a schema.
        examples: whether rows become tf.Examples, whatever the signature's input is called (Classify, Regress).

    Raises:
        UsageError: rows cannot be made into what the signature takes.
    """

    def __init__(
        self,
        metadata: Metadata,
        signature: SignatureSpec,
        rules: Mapping[str, ColumnRule] | None = None,
        *,
        examples: bool = False,
    ) -> None:
        self._rules = dict(rules or {})
        self.takes_examples = examples or signature.takes_examples
        self._fixed: dict[str, np.ndarray] = {}
        if self.takes_examples:
            self.columns = self._columns_of_examples(metadata)
        else:
            self.columns = {}
            for spec in signature.inputs.values():
                if spec.by_row and spec.dtype in (*FLOATS, *INTEGERS, "string"):
                    self.columns[spec.name] = spec
                elif spec.default is not None:
                    self._fixed[spec.name] = spec.default
                else:
                    shape = "(any)" if spec.shape is None else spec.shape
                    raise UsageError(
                        f"every input of the signature {signature.name!r} must have a value a row. Got "
                        f"{spec.name!r} of {spec.dtype} and shape {shape} instead",
                        hint="give whole tensors: predict_tensors(...)",
                    )

    @property
    def open_columns(self) -> bool:
        """Whether nothing says which columns the model takes: any may be given."""
        return self.takes_examples and not self.columns

    def encode(self, rows: Rows) -> Encoded:
        """Encodes rows.

        Args:
            rows: one row, rows, or columns.

        Raises:
            UsageError: it is none of these.
        """
        if self.open_columns:
            raw = gather(rows, None)
            found, problems = open_examples(raw)
            bad = {problem.row for problem in problems}
            good = np.array([row for row in range(raw.rows) if row not in bad], np.int64)
            return Encoded(raw.rows, good, {}, [found[row] for row in good], tuple(sorted(problems)))
        gathered = gather(rows, self.columns, self._rules)
        return self.encode_columns(
            {name: read_values(values, self.columns[name]) for name, values in gathered.columns.items()}, gathered
        )

    def encode_columns(self, read: Mapping[str, Column], gathered: RawColumns) -> Encoded:
        """Encodes columns that were read already.

        Args:
            read: column name to its values; columns that are not there are missing in every row.
            gathered: where they come from: how many rows there are, and what was wrong before.
        """
        problems = list(gathered.problems)
        finished: dict[str, Column] = {}
        for name, spec in self.columns.items():
            column = read.get(name) or _absent(gathered.rows, spec)
            if self.takes_examples:
                spec = dataclasses.replace(spec, default=_blank(spec))
            finished[name] = finish(column, spec, self._rules.get(name))
            problems += [Problem(row, name, text) for row, text in finished[name].wrong.items()]
        bad = {problem.row for problem in problems}
        good = np.array([row for row in range(gathered.rows) if row not in bad], np.int64)
        examples = None
        tensors = {}
        if self.takes_examples:
            examples = _examples(finished, good)
        else:
            tensors = {n: c.values if not bad else c.values[good] for n, c in finished.items()} | self._fixed
        return Encoded(gathered.rows, good, tensors, examples, tuple(sorted(problems)), gathered.unused)

    def _columns_of_examples(self, metadata: Metadata) -> dict[str, TensorSpec]:
        """Returns the raw columns behind tf.Examples: those of `serving_raw`, or else of the schema."""
        raw = metadata.signatures.get(RAW)
        if raw is not None:
            return dict(raw.inputs)
        return {
            name: TensorSpec(name, _DTYPES[rule.kind], (None,))
            for name, rule in sorted(self._rules.items())
            if rule.served and rule.kind is not None
        }


def _absent(rows: int, spec: TensorSpec) -> Column:
    shape = (rows, *(size or 1 for size in spec.row_shape))
    values = np.full(shape, b"", object) if spec.dtype == "string" else np.zeros(shape, spec.numpy_dtype)
    return Column(values, np.ones(rows, bool), {})


def _blank(spec: TensorSpec) -> np.ndarray:
    """What stands at a missing value that is not sent at all."""
    return np.array([b""], object) if spec.dtype == "string" else np.zeros(1, spec.numpy_dtype)


def _examples(columns: Mapping[str, Column], good: np.ndarray) -> list[Features]:
    examples: list[Features] = [{} for _ in good]
    for name, column in columns.items():
        for features, value, missing in zip(
            examples, column.values[good].tolist(), column.missing[good].tolist(), strict=True
        ):
            if not missing:
                features[name] = [value]
    return examples


def whole_tensor(name: str, value: Any, signature: SignatureSpec) -> np.ndarray:
    """Returns what was given for an input as the array that it takes.

    Raises:
        UsageError: there is no such input, or what was given is no such array.
    """
    if name not in signature.inputs:
        raise UsageError(f"inputs must be of {signature.name!r}: {', '.join(signature.inputs)}. Got {name!r} instead")
    spec = signature.inputs[name]
    try:
        if spec.dtype != "string":
            return np.asarray(value, spec.numpy_dtype)
        texts = np.asarray(value, object)
        flat = np.empty(texts.size, object)
        flat[:] = [one.encode() if isinstance(one, str) else bytes(one) for one in texts.reshape(-1)]
        return flat.reshape(texts.shape)
    except (TypeError, ValueError) as error:
        raise UsageError(f"input {name!r} must be an array of {spec.dtype}. Got something else: {error}") from None
