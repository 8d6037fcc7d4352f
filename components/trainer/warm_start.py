"""Warm start: a new model begins with the weights of the one now served, matched by what they stand for.

It then answers as the served model does, up to buckets and scales that the new window has moved: a term that is new has
the weights of the bucket that it fell into, and an input that is new has none.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from pydantic import ValidationError

from components.trainer.layout import Layout, category_sources
from schema.errors import ReleaseError
from serving.model_digest import model_digest

WEIGHTS = "assets.extra/keras/weights.npz"
LAYOUT = "assets.extra/keras/layout.json"

Cells = tuple[np.ndarray, ...]


def save_weights(model: Any, layout: Layout, path: str) -> None:
    """Writes the network's weights, by variable path, and what they stand for beside the SavedModel.

    Args:
        model: the Keras model.
        layout: its layout.
        path: the SavedModel's directory.
    """
    import tensorflow as tf

    tf.io.gfile.makedirs(os.path.dirname(os.path.join(path, WEIGHTS)))
    buffer = io.BytesIO()
    np.savez(buffer, **{variable.path: variable.numpy() for variable in model.weights})
    with tf.io.gfile.GFile(os.path.join(path, WEIGHTS), "wb") as f:
        f.write(buffer.getvalue())
    with tf.io.gfile.GFile(os.path.join(path, LAYOUT), "w") as f:
        f.write(layout.canonical() + "\n")


def warm_start(model: Any, layout: Layout, served: str | None, digest: str | None = None) -> dict[str, Any]:
    """Gives a model the weights of the served one, or leaves it as it is; the log says which.

    Args:
        model: the new Keras model.
        layout: its layout.
        served: the served SavedModel's directory, or None when none is being served.
        digest: its model digest as the release ledger has it; None where there is no ledger to ask.

    Returns:
        `version` (None where the directory has no number) and `model_digest` of the served model, and which variables
        were `taken` over, which `partly` (path to share), and which keep their `initial` values. Or `cold`: why the
        training starts cold.
    """
    if not served:
        return _cold("no model is being served")
    try:
        found = model_digest(served)
        values, old = _read(served)  # after the digest, which says whether there is a model at all
    except (OSError, ReleaseError, ValidationError, ValueError, zipfile.BadZipFile) as error:
        return _cold(f"{served} is not a model to start from: {str(error).splitlines()[0]}")
    if digest not in (None, found):
        return _cold(f"{served} must be the model that was released, {digest}. Got {found} instead")
    share = {
        variable.path: _take(variable, values.get(variable.path), layout, old)
        for variable in sorted(model.weights, key=lambda v: v.path)
    }
    version = int(Path(served).name) if Path(served).name.isdigit() else None
    taken = [path for path, part in share.items() if part == 1.0]
    partly = {path: round(part, 4) for path, part in share.items() if 0.0 < part < 1.0}
    initial = [path for path, part in share.items() if part == 0.0]
    logging.info(
        "warm start from version %s, model digest %s: %d weights taken over, %d partly, %d initial",
        *(version, found[:12], len(taken), len(partly), len(initial)),
    )
    return {"version": version, "model_digest": found, "taken": taken, "partly": partly, "initial": initial}


def _cold(why: str) -> dict[str, Any]:
    logging.warning("cold start, though trainer.warm_start is on: %s", why)
    return {"cold": why}


def _read(served: str) -> tuple[dict[str, np.ndarray], Layout]:
    with np.load(os.path.join(served, WEIGHTS)) as stored:
        return dict(stored), Layout.model_validate_json(Path(served, LAYOUT).read_text(encoding="utf-8"))


def _take(variable: Any, value: np.ndarray | None, new: Layout, old: Layout) -> float:
    """Assigns what `value` has for a variable, and returns for which share of it that is."""
    path, initial = variable.path, variable.numpy()
    cells = None if value is None else _cells(path, new, old, initial.shape, value.shape)
    if value is None or cells is None or not all(index.size for index in cells[0]):
        return 0.0
    to, source = cells
    taken = value[source]
    if initial.ndim == 2 and new.axes.get(path, ("",))[0] == "features":
        # What the served model has no input for says nothing to begin with.
        initial = np.zeros_like(initial)
    initial[to] = taken
    variable.assign(initial)
    return taken.size / initial.size


def _cells(
    path: str, new: Layout, old: Layout, shape: tuple[int, ...], old_shape: tuple[int, ...]
) -> tuple[Cells, Cells] | None:
    """Returns which cells of a variable stand for the same as which of the other model's, or None where none can."""
    if path in new.tables and path in old.tables:
        to, source = _table_cells(path, new, old)
        return (to,), (source,)
    axes = new.axes.get(path, ("",) * len(shape))
    if axes != old.axes.get(path, ("",) * len(old_shape)) or len(shape) != len(old_shape) or path in old.tables:
        return None
    pairs = []
    for axis, length, old_length in zip(axes, shape, old_shape, strict=True):
        if axis == "features":
            pairs.append(_feature_pairs(new, old))
        elif axis == "outputs":
            pairs.append(_output_pairs(new, old))
        elif length == old_length:
            pairs.append((np.arange(length), np.arange(length)))
        else:
            return None
    return np.ix_(*(to for to, _ in pairs)), np.ix_(*(source for _, source in pairs))


def _table_cells(path: str, new: Layout, old: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a flat table: feature by feature, category by category, and within one by position or by output."""
    begins, begin = {}, 0
    for name, cardinality, size in old.tables[path]:
        begins[name] = begin, size
        begin += cardinality * size
    to, source = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    begin = 0
    for name, cardinality, size in new.tables[path]:
        if name in begins:
            old_begin, old_size = begins[name]
            category = category_sources(new.categories[name], old.categories[name])
            known = np.flatnonzero(category >= 0)
            if path.startswith("wide/"):
                inner, old_inner = _output_pairs(new, old)
            else:
                inner = old_inner = np.arange(min(size, old_size))
            to.append((begin + known[:, np.newaxis] * size + inner).ravel())
            source.append((old_begin + category[known][:, np.newaxis] * old_size + old_inner).ravel())
        begin += cardinality * size
    return np.concatenate(to), np.concatenate(source)


def _feature_pairs(new: Layout, old: Layout) -> tuple[np.ndarray, np.ndarray]:
    begins, begin = {}, 0
    for name, width in old.features:
        begins[name] = begin, width
        begin += width
    to, source, begin = [], [], 0
    for name, width in new.features:
        if name in begins:
            old_begin, old_width = begins[name]
            both = range(min(width, old_width))
            to += [begin + i for i in both]
            source += [old_begin + i for i in both]
        begin += width
    return np.asarray(to, np.int64), np.asarray(source, np.int64)


def _output_pairs(new: Layout, old: Layout) -> tuple[np.ndarray, np.ndarray]:
    same = [(i, old.outputs.index(name)) for i, name in enumerate(new.outputs) if name in old.outputs]
    return np.asarray([i for i, _ in same], np.int64), np.asarray([j for _, j in same], np.int64)
