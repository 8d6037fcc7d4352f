"""The model: transformed features in, logits out."""

from __future__ import annotations

import contextlib
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.dotted_path import imported_function
from components.transform.plan import FeatureOutput, FeaturePlan
from schema.errors import ConfigError
from schema.training import ModelConfig, TrainerConfig

MAX_EMBEDDING = 8
"""The largest embedding that is chosen when the config names no size."""


def num_outputs(plan: FeaturePlan, task: str) -> int:
    """Returns how many logits the model has: 1 for binary and regression, else one a class."""
    return len(plan.label.classes or ()) if task == "multiclass_classification" else 1


def build_model(plan: FeaturePlan, config: TrainerConfig, task: str, *, seed: int) -> Any:
    """Builds the Keras model of a line.

    Args:
        plan: the transformed features.
        config: the trainer section.
        task: `binary_classification`, `multiclass_classification` or `regression`.
        seed: seeds every initializer and dropout layer.

    Returns:
        A functional `keras.Model`: dict of transformed features (shape (batch,), float32 or int32) to logits
        float32 (batch, k), k as `num_outputs` says. A regression's output is in standard deviations from the label's
        mean (`plan.label.mean`, `.std`); the binary logit is that of `plan.label.classes[-1]`. It is not compiled.

    Raises:
        ConfigError: `config.model.builder` cannot be imported or builds something else, or there are no features.
    """
    if config.model.builder:
        return _custom(config.model.builder, plan, config, task, seed)
    return _wide_and_deep(plan, config.model, num_outputs(plan, task), task, seed)


def pick_inputs(model: Any, features: dict[str, Any]) -> dict[str, Any]:
    """Returns those features that a model takes: a builder of a line's own may leave some out.

    Args:
        model: a Keras model as `build_model` returns it.
        features: transformed feature name to tensor.
    """
    return {name: features[name] for name in model.input}


def embedding_size(output: FeatureOutput, config: ModelConfig) -> int:
    """Returns the embedding size of a categorical feature: the configured one, or round(1.6 * n ** 0.56) <= 8.

    The formula is fast.ai's rule of thumb (`emb_sz_rule`) with a much lower cap: on the taxi and census lines (10,000
    and 21,000 rows) caps of 4 to 8 gave an AUC 0.001 higher than caps of 16 to 32, in half the time.
    """
    if config.embedding_dim is not None:
        return config.embedding_dim
    return max(1, min(MAX_EMBEDDING, round(1.6 * (output.cardinality or 1) ** 0.56)))


def _wide_and_deep(plan: FeaturePlan, config: ModelConfig, k: int, task: str, seed: int) -> Any:
    import keras

    from components.trainer.layers import EmbeddingBag, PackColumns, WideSum

    inputs = {
        o.name: keras.Input((), name=f"input_{i}", dtype="float32" if o.kind == "dense" else "int32")
        for i, o in enumerate(plan.outputs)
    }
    parts = []
    if plan.dense:
        parts.append(PackColumns(name="dense")([inputs[o.name] for o in plan.dense]))
    categorical = plan.categorical
    categories = None
    if categorical:
        categories = PackColumns(dtype="int32", name="categories")([inputs[o.name] for o in categorical])
    deep = [i for i, o in enumerate(categorical) if o.role == "deep"]
    if deep:
        cardinalities = [categorical[i].cardinality or 1 for i in deep]
        sizes = [embedding_size(categorical[i], config) for i in deep]
        initial = _seed(seed, "embedding")
        parts.append(
            EmbeddingBag(cardinalities, sizes, deep, initializer="uniform", seed=initial, name="embedding")(categories)
        )
    logits = []
    if parts:
        x = keras.layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
        for i, units in enumerate(config.hidden_units):
            x = _block(x, units, i, config, seed)
        kernel = keras.initializers.GlorotUniform(seed=_seed(seed, "logits"))
        bias = keras.initializers.Constant(_prior(plan, task))
        logits.append(keras.layers.Dense(k, kernel_initializer=kernel, bias_initializer=bias, name="logits")(x))
    if categorical and (config.wide or not parts):
        cardinalities = [o.cardinality or 1 for o in categorical]
        columns = range(len(categorical))
        bag = EmbeddingBag(cardinalities, [k] * len(columns), columns, initializer="zeros", seed=0, name="wide")
        logits.append(WideSum(k, name="wide_sum")(bag(categories)))
    if not logits:
        raise ConfigError(
            "transform must leave at least one feature. Got none instead",
            hint="name columns in transform.features, or take some out of transform.exclude",
        )
    out = keras.layers.Add(name="wide_and_deep")(logits) if len(logits) > 1 else logits[0]
    with _unnamed_inputs():
        return keras.Model(inputs, out, name="wide_and_deep")


def _block(x: Any, units: int, index: int, config: ModelConfig, seed: int) -> Any:
    import keras

    def dense(value: Any, name: str, activation: str | None) -> Any:
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=keras.initializers.GlorotUniform(seed=_seed(seed, name)),
            kernel_regularizer=keras.regularizers.L2(config.l2) if config.l2 else None,
            name=name,
        )(value)

    def dropout(value: Any, name: str) -> Any:
        return (
            keras.layers.Dropout(config.dropout, seed=_seed(seed, name), name=name)(value) if config.dropout else value
        )

    if config.block == "plain":
        return dropout(dense(x, f"hidden_{index}", config.activation), f"dropout_{index}")
    if x.shape[-1] != units:
        x = dense(x, f"project_{index}", None)
    y = keras.layers.LayerNormalization(name=f"norm_{index}")(x)
    y = dropout(dense(y, f"hidden_{index}", config.activation), f"dropout_{index}")
    return keras.layers.Add(name=f"residual_{index}")([x, dense(y, f"out_{index}", None)])


def _seed(seed: int, name: str) -> int:
    """A seed of its own for each layer, so that adding a layer leaves the others' weights alone."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def _prior(plan: FeaturePlan, task: str) -> float | list[float]:
    """The bias at which an untrained model predicts the class frequencies of the train split."""
    counts = np.asarray(plan.label.class_counts or (), np.float64)
    if task == "regression" or not len(counts):
        return 0.0
    share = (counts + 1.0) / (counts.sum() + len(counts))
    if task == "binary_classification":
        return float(np.log(share[-1] / (1.0 - share[-1])))
    return [float(v) for v in np.log(share)]


def _custom(path: str, plan: FeaturePlan, config: TrainerConfig, task: str, seed: int) -> Any:
    import keras

    builder = imported_function(path, "trainer.model.builder")
    keras.utils.set_random_seed(seed)  # so that a builder that names no seeds is reproducible all the same
    with _unnamed_inputs():
        model = builder(plan, config, task, seed=seed)
    inputs = getattr(model, "input", None) if isinstance(model, keras.Model) and hasattr(model, "inputs") else None
    if not isinstance(inputs, dict):
        raise ConfigError(
            f"trainer.model.builder {path} must return a functional keras.Model with a dict of inputs. "
            f"Got {type(model).__name__} instead",
            hint="return keras.Model({name: keras.Input((), name=name), ...}, logits)",
        )
    unknown = sorted(set(inputs) - {o.name for o in plan.outputs})
    if unknown:
        raise ConfigError(
            f"trainer.model.builder {path} must take transformed features only: "
            f"{', '.join(o.name for o in plan.outputs)}. Got {', '.join(unknown)} instead"
        )
    k = num_outputs(plan, task)
    if tuple(model.output_shape) != (None, k):
        raise ConfigError(
            f"trainer.model.builder {path} must return a model with output shape (None, {k}). "
            f"Got {model.output_shape} instead",
            hint="end with keras.layers.Dense(num_outputs(plan, task)) without an activation",
        )
    return model


@contextlib.contextmanager
def _unnamed_inputs() -> Iterator[None]:
    """Features are matched by key. Keras wants each Input to bear its key as its name, which a column called "a/b", or
    "logits" as one of our layers, cannot."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        yield
