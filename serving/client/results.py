"""Predictions, row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.calls import Tensors
from serving.client.signatures import SignatureSpec


@dataclasses.dataclass(frozen=True)
class Batch:
    """One answered request of a larger question.

    Attributes:
        rows: int64 (m,), the positions of its rows in what was given.
        answer: what the server answered.
        request_id: its `x-request-id`.
    """

    rows: np.ndarray
    answer: Tensors
    request_id: str


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model said about m rows.

    Attributes:
        signature: the signature that was called.
        outputs: output name to array, (m, ...). Texts are str; bytes that are no UTF-8 stay bytes.
        rows: int64 (m,), the position of each row in what was given, ascending.
        versions: the model version that answered each row; None when the server does not tell (REST).
        request_ids: the `x-request-id` under which each row was sent.
    """

    signature: str
    outputs: Mapping[str, np.ndarray]
    rows: np.ndarray
    versions: tuple[int | None, ...]
    request_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def records(self) -> list[dict[str, Any]]:
        """Returns a mapping of output name to plain Python value for each row."""
        values = {name: array.tolist() for name, array in self.outputs.items()}
        return [{name: column[row] for name, column in values.items()} for row in range(len(self))]


def join(signature: SignatureSpec, batches: Sequence[Batch], wanted: Sequence[str] = ()) -> Predictions:
    """Puts the answers of batches together, in order.

    An output without a row each (a sum over the batch, say) stands at every row of its batch.

    Args:
        signature: the signature that was called.
        batches: the batches; there may be none.
        wanted: the outputs that were asked for; none for all.

    Raises:
        ValueError: an output does not have a value a row, or not the same shape in all batches.
    """
    names = list(wanted or signature.outputs)
    outputs = {}
    for name in names:
        spec = signature.outputs[name]
        parts = []
        for batch in batches:
            array, count = batch.answer.outputs[name], len(batch.rows)
            if not spec.by_row:
                array = np.broadcast_to(array, (count, *array.shape))
            elif array.ndim == 0 or array.shape[0] != count:
                raise ValueError(f"{name!r} of shape {array.shape} for {count} rows")
            parts.append(array)
        empty = (0, *(size or 0 for size in spec.row_shape))
        outputs[name] = np.concatenate(parts) if parts else np.empty(empty, spec.numpy_dtype)
    return Predictions(
        signature=signature.name,
        outputs=outputs,
        rows=np.concatenate([batch.rows for batch in batches]) if batches else np.empty(0, np.int64),
        versions=tuple(batch.answer.version for batch in batches for _ in batch.rows),
        request_ids=tuple(batch.request_id for batch in batches for _ in batch.rows),
    )
