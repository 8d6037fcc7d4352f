"""`run_fn`: what TFX's Trainer calls. Reads, fits, calibrates, exports."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from components.trainer import hyperparameters
from schema.base import sha256_json
from schema.training import TrainerConfig

CANNED_ROWS = 64
"""Rows whose predictions are written down for the InfraValidator."""


def run_fn(fn_args: Any) -> None:
    """Trains the line's model and writes it as a SavedModel.

    Args:
        fn_args: TFX's FnArgs. `train_files` and `eval_files` are the splits to learn from and to stop by.
            `custom_config` holds `config` (the sections trainer, task, label and seed, as a dict or JSON text),
            `code_digest`, `state_dir`, and optionally, for a warm start, `baseline` (directory of the SavedModel now
            served; TFX's `base_model` input serves as well) and `baseline_digest` (its model digest).

    Writes:
        `serving_model_dir`: the SavedModel, see `components.trainer.export`.
        `model_run_dir`: training.json (history, best epoch, temperature, what a warm start took over, ...),
            predictions.json (this model's answers to the first rows) and TensorBoard logs.

    Raises:
        ConveyorError: no examples, a model builder that cannot be used, or a loss that is not finite.
    """
    import tensorflow as tf

    from components.trainer import checkpoint
    from components.trainer.calibration import fit_temperature
    from components.trainer.compiled import compile_model
    from components.trainer.dataset import RawReader, load_split
    from components.trainer.export import write_saved_model
    from components.trainer.fit import fit
    from components.trainer.layout import layout_of
    from components.trainer.model import build_model
    from components.trainer.outputs import OutputHead
    from components.trainer.tensorboard import write_logs
    from components.trainer.warm_start import save_weights, warm_start
    from components.trainer.warm_up import write_warm_up

    started = time.perf_counter()
    custom = fn_args.custom_config or {}
    sections = custom["config"]
    sections = json.loads(sections) if isinstance(sections, str) else sections
    task, seed = sections["task"], int(sections["seed"])
    config = hyperparameters.apply(
        TrainerConfig.model_validate(sections["trainer"]), hyperparameters.values_of(fn_args.hyperparameters)
    )
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    reader = RawReader(fn_args.transform_graph_path)
    plan = reader.plan
    train = load_split(fn_args.train_files, fn_args.transform_graph_path, reader=reader)
    validation = load_split(fn_args.eval_files, fn_args.transform_graph_path, reader=reader)
    clock.lap("read")

    model = build_model(plan, config, task, seed=seed)
    layout = layout_of(model, plan, config.model, task, fn_args.transform_graph_path)
    start = None
    if config.warm_start:
        given = (fn_args.base_model,) if fn_args.base_model else (custom.get("baseline"), custom.get("baseline_digest"))
        start = warm_start(model, layout, *given)
    compiled = compile_model(model, config, plan=plan, task=task)
    folder = _checkpoint_dir(fn_args, sections, config, custom, [w.numpy() for w in model.weights])
    clock.lap("build")
    result = fit(compiled, train, validation, config, plan=plan, task=task, seed=seed, checkpoint_dir=folder)
    clock.lap("fit")

    temperature = 1.0
    if config.model.calibrate and task != "regression":
        temperature = fit_temperature(compiled.logits(validation.features), validation.label)
    head = OutputHead(plan, task, temperature)
    canned = list(itertools.islice(_rows(fn_args.eval_files), CANNED_ROWS))
    write_saved_model(model, reader, head, fn_args.serving_model_dir)
    clock.lap("export")
    write_warm_up(fn_args.serving_model_dir, plan, task, canned)
    save_weights(model, layout, fn_args.serving_model_dir)

    run_dir = fn_args.model_run_dir
    tf.io.gfile.makedirs(run_dir)
    features, _ = reader(tf.constant(canned, tf.string))
    _write_json(
        os.path.join(run_dir, "predictions.json"),
        {
            "examples": [base64.b64encode(example).decode("ascii") for example in canned],
            "outputs": {name: _plain(value) for name, value in head.arrays(compiled.logits(features)).items()},
        },
    )
    if config.tensorboard:
        write_logs(run_dir, result.history)
    clock.lap("write")
    _write_json(
        os.path.join(run_dir, "training.json"),
        {
            "task": task,
            "best_epoch": result.best_epoch,
            "best_validation_loss": result.best.get("val_loss"),
            "best": result.best,
            "history": result.history,
            "stopped": result.stopped,
            "resumed_from": result.resumed_from,
            "temperature": temperature,
            "rows": {"train": len(train), "validation": len(validation)},
            "parameters": int(sum(np.prod(w.shape) for w in model.weights)),
            "trainer": config.model_dump(mode="json"),
            "warm_start": start,
            "seconds": {**seconds, "total": time.perf_counter() - started},
        },
    )
    checkpoint.remove(folder)


class _Clock:
    def __init__(self, laps: dict[str, float]) -> None:
        self._laps, self._last = laps, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name], self._last = now - self._last, now


def _checkpoint_dir(
    fn_args: Any, sections: dict[str, Any], config: TrainerConfig, custom: dict[str, Any], initial: Sequence[np.ndarray]
) -> str:
    """The folder of this training's checkpoints, named after everything that the weights depend on."""
    import tensorflow as tf

    from components.trainer.checkpoint import trainings
    from components.trainer.dataset import list_files

    digest = hashlib.sha256()
    walk = tf.io.gfile.walk(fn_args.transform_graph_path)
    graph = sorted(os.path.join(folder, name) for folder, _, names in walk for name in names)
    for path in [*list_files(fn_args.train_files), *list_files(fn_args.eval_files), *graph]:
        digest.update(_file_digest(path))
    for value in initial:
        digest.update(np.ascontiguousarray(value).tobytes())
    key = sha256_json(
        {
            "trainer": config.model_dump(mode="json"),
            "sections": {k: sections.get(k) for k in ("task", "label", "seed")},
            "code": custom.get("code_digest", ""),
            "inputs": digest.hexdigest(),
        }
    )
    return os.path.join(trainings(custom["state_dir"]), key)


def _file_digest(path: str) -> bytes:
    import tensorflow as tf

    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _rows(file_patterns: Sequence[str]) -> Iterator[bytes]:
    from components.trainer.dataset import read_serialized

    for batch in read_serialized(file_patterns, batch_rows=CANNED_ROWS):
        yield from batch.numpy().tolist()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(cell) for cell in value]
    return value.decode() if isinstance(value, bytes) else value


def _write_json(path: str, value: Any) -> None:
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "w") as f:
        f.write(json.dumps(value, indent=1, sort_keys=True) + "\n")
