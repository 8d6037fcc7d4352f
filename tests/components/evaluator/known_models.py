"""Small SavedModels of which every answer is known, record files, and the Evaluator run on both.

A model here gives back the probability or the number that a row carries in a column of its own (`p` for the candidate,
`p_before` for the baseline), so that every metric is known beforehand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.evaluator.eval_config import EvaluationConfig
from components.evaluator.results import Evaluation, SliceResult, read_evaluation
from schema.release import EvaluatorConfig

CLASSES = {"binary_classification": ("no", "yes"), "multiclass_classification": ("Card", "Cash", "Other")}
Row = dict[str, Any]


def save_model(directory: Path, task: str, column: str) -> None:
    """A SavedModel with the signatures `serving_default` and `evaluation` of the project's models."""
    import tensorflow as tf

    classes = CLASSES.get(task, ())

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples: Any) -> Any:
            width = max(len(classes) - 1, 1)
            given = tf.io.parse_example(
                examples, {column: tf.io.FixedLenFeature([width], tf.float32, [math.nan] * width)}
            )[column]
            if task == "regression":
                return {"predictions": given}
            names = tf.tile(tf.constant([[c.encode() for c in classes]]), [tf.shape(given)[0], 1])
            first = 1.0 - tf.reduce_sum(given, axis=1, keepdims=True)
            return {"probabilities": tf.concat([first, given], axis=1), "classes": names, "scores": given[:, -1:]}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def evaluation(self, examples: Any) -> Any:
            if task == "regression":
                spec = tf.io.FixedLenFeature([], tf.float32, math.nan)
                return {"label_xf": tf.io.parse_example(examples, {"label": spec})["label"]}
            spec = tf.io.FixedLenFeature([], tf.string, "")
            text = tf.io.parse_example(examples, {"label": spec})["label"]
            index = tf.constant(-1, tf.int64) * tf.ones_like(text, tf.int64)
            for i, name in enumerate(classes):
                index = tf.where(text == name, tf.constant(i, tf.int64), index)
            return {"label_xf": index}

    model = Model()
    tf.saved_model.save(
        model,
        str(directory / "Format-Serving"),
        signatures={"serving_default": model.serve, "evaluation": model.evaluation},
    )


def write_records(path: Path, rows: Sequence[Row]) -> None:
    """A GZIP TFRecord file of tf.Examples; a None is a missing value."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            example = tf.train.Example()
            for name, value in row.items():
                feature = example.features.feature[name]
                values = value if isinstance(value, tuple) else (value,)
                if isinstance(value, str):
                    feature.bytes_list.value[:] = [value.encode()]
                elif isinstance(value, int):
                    feature.int64_list.value[:] = [value]
                elif value is not None:
                    feature.float_list.value[:] = values
                else:
                    del example.features.feature[name]
            writer.write(example.SerializeToString(deterministic=True))


def artifact(kind: Any, uri: Path, number: int = 1) -> Any:
    from tfx.types import standard_artifacts

    result = getattr(standard_artifacts, kind)()
    result.uri, result.id = str(uri), number
    if kind == "Examples":
        result.split_names = json.dumps(["train", "eval"])
    return result


def evaluate(
    tmp_path: Path, config: EvaluationConfig, candidate: Path, baseline: Path | None = None
) -> tuple[Evaluation, Any]:
    """Runs the executor on the records under `tmp_path/examples`; returns the result and the blessing."""
    from components.evaluator.executor import Executor

    config.check()
    inputs = {"examples": [artifact("Examples", tmp_path / "examples")], "model": [artifact("Model", candidate, 7)]}
    inputs["baseline_model"] = [artifact("Model", baseline, 8)] if baseline else []
    (tmp_path / "blessing").mkdir(exist_ok=True)
    outputs = {
        "evaluation": [artifact("ModelEvaluation", tmp_path / "evaluation")],
        "blessing": [artifact("ModelBlessing", tmp_path / "blessing")],
    }
    Executor().Do(inputs, outputs, {"config": config.canonical(), "code_digest": ""})
    return read_evaluation(tmp_path / "evaluation"), outputs["blessing"][0]


def records(tmp_path: Path, *files: Sequence[Row]) -> None:
    for i, rows in enumerate(files):
        write_records(tmp_path / "examples" / "Split-eval" / f"span-{i:05d}-data_tfrecord-00000-of-00001.gz", rows)


def by_name(evaluation: Evaluation) -> dict[str, SliceResult]:
    return {result.slice: result for result in evaluation.slices}


def line(task: str, **evaluator: Any) -> EvaluationConfig:
    return EvaluationConfig(task=task, label="label", evaluator=EvaluatorConfig.model_validate(evaluator))  # type: ignore[arg-type]
