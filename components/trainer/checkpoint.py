"""Checkpoints of a training: written whole or not at all, so that a kill at any moment leaves a good one."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FILE = "checkpoint.npz"


@dataclass
class Saved:
    """What a checkpoint holds beside the variables.

    Attributes:
        best: the best weights so far.
        history: the figures of the epochs done.
    """

    best: list[np.ndarray]
    history: list[dict[str, float]]


def save(folder: str, state: Sequence[Any], best: Sequence[np.ndarray], history: Sequence[dict[str, float]]) -> None:
    """Writes a checkpoint in place of the one before.

    Args:
        folder: made when it is not there.
        state: Keras variables of the model and its optimizer.
        best: the best weights so far.
        history: the figures of the epochs done.
    """
    import tensorflow as tf

    arrays = {f"state_{i:05d}": variable.numpy() for i, variable in enumerate(state)}
    arrays |= {f"best_{i:05d}": value for i, value in enumerate(best)}
    arrays["history"] = np.frombuffer(json.dumps(list(history)).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    tf.io.gfile.makedirs(folder)
    temporary = os.path.join(folder, f".{FILE}.{os.getpid()}")
    with tf.io.gfile.GFile(temporary, "wb") as f:
        f.write(buffer.getvalue())
    tf.io.gfile.rename(temporary, os.path.join(folder, FILE), overwrite=True)


def load(folder: str, state: Sequence[Any], num_best: int) -> Saved | None:
    """Puts a checkpoint back.

    Args:
        folder: where `save` wrote.
        state: the same variables in the same order; they are assigned.
        num_best: how many weights the model has.

    Returns:
        The rest of the checkpoint; or None, with nothing assigned, when there is none that fits.
    """
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(os.path.join(folder, FILE), "rb") as f:
            content = io.BytesIO(f.read())
        with np.load(content) as stored:
            values = [stored[f"state_{i:05d}"] for i in range(len(state))]
            best = [stored[f"best_{i:05d}"] for i in range(num_best)]
            history = json.loads(stored["history"].tobytes())
    except (tf.errors.OpError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    if any(tuple(v.shape) != tuple(s.shape) for v, s in zip(values, state, strict=True)):
        return None
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return Saved(best, history)


def remove(folder: str) -> None:
    """Removes the checkpoints of a training that has come to its end."""
    import tensorflow as tf

    if tf.io.gfile.isdir(folder):
        tf.io.gfile.rmtree(folder)


def trainings(state_dir: str) -> str:
    """Returns the folder below a line's state that has a folder of checkpoints a training."""
    return os.path.join(state_dir, "work", "trainer")


def forget_trainings(state_dir: str | os.PathLike[str]) -> None:
    """Removes what killed trainings of a line left, so that the next one starts from the beginning."""
    shutil.rmtree(trainings(os.fspath(state_dir)), ignore_errors=True)
