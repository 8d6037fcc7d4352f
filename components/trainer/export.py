"""Writes the SavedModel: raw rows in, named predictions out, transform graph and network in one.

Plain `tf.saved_model.save(keras_model)` writes a model that TensorFlow Serving refuses. Here a `tf.Module` holds the
network's variables and the transform graph, and every signature calls one shared function, so that they cannot differ.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from components.trainer.dataset import RawReader
from components.trainer.model import pick_inputs
from components.trainer.outputs import OutputHead
from components.transform.plan import FeaturePlan

MISSING: dict[str, Any] = {"FLOAT": float("nan"), "INT": int(np.iinfo(np.int64).min), "BYTES": b""}
"""What stands for a missing value in `serving_raw`, by column type. It is the default of every input there."""


def raw_dtype(column_type: str) -> Any:
    """Returns the TensorFlow dtype of a raw column (`FLOAT`, `INT` or `BYTES`)."""
    import tensorflow as tf

    return {"FLOAT": tf.float32, "INT": tf.int64, "BYTES": tf.string}[column_type]


def write_saved_model(model: Any, reader: RawReader, head: OutputHead, path: str) -> None:
    """Writes the model with its signatures.

    | signature | inputs | outputs |
    |---|---|---|
    | serving_default | `examples`: string (batch,), serialized tf.Examples | as `OutputHead.arrays` |
    | serving_raw | one (batch,) tensor a raw column; left out, or the value in `MISSING`: missing | the same |
    | classify | `inputs`: string (batch,) | `classes` string and `scores` float32, (batch, classes) |
    | regress | `inputs`: string (batch,) | `outputs` float32 (batch, 1) |
    | transform_features | `examples` | the transformed features, without the label |
    | evaluation | `examples` | the transformed label |

    Args:
        model: the Keras model.
        reader: the transform graph.
        head: how logits become outputs.
        path: the directory to write.
    """
    import tensorflow as tf

    plan = reader.plan
    module = tf.Module(name="conveyor")
    module.transform = reader.graph
    module.weights = [variable.value for variable in model.weights]
    module.scaling = tf.Variable(head.scaling, trainable=False, name="scaling")
    columns = sorted(plan.columns)
    specs = {n: tf.SparseTensorSpec((None, None), raw_dtype(plan.columns[n])) for n in columns}
    parsing = {n: reader.feature_spec[n] for n in columns}
    label = plan.label

    @tf.function(input_signature=[specs], autograph=False)
    def transform(raw: dict[str, Any]) -> dict[str, Any]:
        transformed = reader.transform(raw)
        return {o.name: transformed[o.name] for o in plan.outputs}

    @tf.function(input_signature=[specs], autograph=False)
    def score(raw: dict[str, Any]) -> dict[str, Any]:
        transformed = transform(raw)
        features = {
            o.name: tf.cast(transformed[o.name], tf.float32 if o.kind == "dense" else tf.int32) for o in plan.outputs
        }
        return head.graph(model(pick_inputs(model, features), training=False), module.scaling)

    def serialized(fn: Any, key: str) -> Any:
        spec = tf.TensorSpec([None], tf.string, name=key)
        return tf.function(fn, input_signature=[spec], autograph=False)

    def evaluation(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {label.name: reader.feature_spec[label.name]})
        return {label.key: reader.transform(parsed)[label.key]}

    def classify(inputs: Any) -> dict[str, Any]:
        outputs = score(tf.io.parse_example(inputs, parsing))
        return {"classes": outputs["classes"], "scores": outputs["probabilities"]}

    def regress(inputs: Any) -> dict[str, Any]:
        return {"outputs": score(tf.io.parse_example(inputs, parsing))["predictions"]}

    signatures = {
        "serving_default": serialized(lambda examples: score(tf.io.parse_example(examples, parsing)), "examples"),
        "serving_raw": _raw_signature(plan, columns, score),
        "transform_features": serialized(
            lambda examples: transform(tf.io.parse_example(examples, parsing)), "examples"
        ),
        "evaluation": serialized(evaluation, "examples"),
    }
    if head.task == "regression":
        signatures["regress"] = serialized(regress, "inputs")
    else:
        signatures["classify"] = serialized(classify, "inputs")
    tf.saved_model.save(module, path, signatures=signatures)


def _raw_signature(plan: FeaturePlan, columns: list[str], score: Any) -> Any:
    """A function with an argument a raw column. Their defaults become the SignatureDef's (`SignatureDef.defaults`).

    A default has one row. A column of one row stands for all rows of the batch. What TensorFlow Serving makes of it:
    by gRPC a column may be left out of a request; by REST it wants every key in every row
    (`tensorflow_serving/util/json_tensor.cc`), so that there a missing value is NaN, "" or -9223372036854775808. The
    REST calls `:classify` and `:regress` take rows with keys left out.
    """
    import tensorflow as tf

    def serving_raw(*values: Any) -> dict[str, Any]:
        shapes = []
        for dtype in {v.dtype: None for v in values}:
            shapes += tf.shape_n([v for v in values if v.dtype == dtype])
        rows = tf.reduce_max(tf.concat(shapes, 0))
        full = {name: tf.broadcast_to(v, [rows]) for name, v in zip(columns, values, strict=True)}
        shape = tf.stack([tf.cast(rows, tf.int64), 1])
        if plan.reads_stand_ins:
            # Half of the operations of a small request would go into leaving out what stands for a missing value.
            all_rows = tf.pad(tf.range(tf.cast(rows, tf.int64))[:, tf.newaxis], [[0, 0], [0, 1]])
            return score({name: tf.SparseTensor(all_rows, value, shape) for name, value in full.items()})
        raw = {}
        for name, value in full.items():
            missing = tf.math.is_nan(value) if value.dtype.is_floating else tf.equal(value, MISSING[plan.columns[name]])
            row = tf.where(tf.logical_not(missing))
            raw[name] = tf.SparseTensor(tf.pad(row, [[0, 0], [0, 1]]), tf.gather_nd(value, row), shape)
        return score(raw)

    parameters, specs = [], []
    for i, name in enumerate(columns):
        dtype = raw_dtype(plan.columns[name])
        default = tf.constant([MISSING[plan.columns[name]]], dtype)
        parameters.append(
            inspect.Parameter(f"column_{i:05d}", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        )
        specs.append(tf.TensorSpec([None], dtype, name=name))
    serving_raw.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return tf.function(serving_raw, input_signature=specs, autograph=False)
