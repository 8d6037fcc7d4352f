"""The Keras layers of the built-in model. Each does for all columns at once what stock Keras does a column at a time:
on small batches the number of ops, not their size, is what a step costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


class PackColumns(keras.layers.Layer):
    """Stacks columns: a list of n tensors of shape (batch,) becomes one of shape (batch, n).

    Args:
        dtype: dtype of the result.
        name: the layer's name.
    """

    def call(self, columns: Sequence[Any]) -> Any:
        """Stacks `columns`."""
        return ops.stack([ops.cast(c, self.compute_dtype) for c in columns], axis=1)


class EmbeddingBag(keras.layers.Layer):
    """Embeddings of all categorical columns, each of its own size, out of one flat table.

    Args:
        cardinalities: the number of indices of each embedded column.
        sizes: the embedding size of each embedded column.
        columns: which columns of the input are embedded.
        initializer: `uniform` in +-0.05 (as keras.layers.Embedding), or `zeros`.
        seed: seed of the initializer.
        name: the layer's name.

    Input: int32 (batch, columns), the indices. Output: float32 (batch, sum(sizes)).

    Attributes:
        blocks: column, cardinality and size of each embedding, in the order in which they lie in the table.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        sizes: Sequence[int],
        columns: Sequence[int],
        *,
        initializer: str,
        seed: int,
        name: str,
    ) -> None:
        super().__init__(name=name)
        sizes_ = np.asarray(sizes, np.int64)
        blocks = np.asarray(cardinalities, np.int64) * sizes_
        starts = np.concatenate([[0], np.cumsum(blocks)[:-1]])
        within = np.concatenate([np.arange(s) for s in sizes_])
        self.blocks = tuple(zip(columns, cardinalities, sizes, strict=True))
        self._length = int(blocks.sum())
        self._column = np.repeat(np.asarray(columns), sizes_).astype(np.int32)
        self._stride = np.repeat(sizes_, sizes_).astype(np.int32)
        self._offset = (np.repeat(starts, sizes_) + within).astype(np.int32)
        self._initializer = (
            keras.initializers.RandomUniform(-0.05, 0.05, seed=seed)
            if initializer == "uniform"
            else keras.initializers.Zeros()
        )

    def build(self, input_shape: Any) -> None:
        """Makes the table."""
        self.table = self.add_weight(shape=(self._length,), initializer=self._initializer, name="table")

    def call(self, indices: Any) -> Any:
        """Looks `indices` up."""
        cells = ops.take(indices, self._column, axis=1) * self._stride + self._offset
        return ops.take(self.table, cells, axis=0)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        """Shape (batch, sum(sizes))."""
        return (input_shape[0], len(self._column))


class WideSum(keras.layers.Layer):
    """Sums the per-category weights of the wide part: (batch, columns * k) becomes (batch, k)."""

    def __init__(self, k: int, *, name: str) -> None:
        super().__init__(name=name)
        self._k = k

    def call(self, weights: Any) -> Any:
        """Sums over columns."""
        return ops.sum(ops.reshape(weights, (-1, weights.shape[1] // self._k, self._k)), axis=1)
