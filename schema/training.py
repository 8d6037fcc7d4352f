"""Sections of a line config about the model: architecture, training and tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schema.base import Section


class ModelConfig(Section):
    """The Keras model: embeddings and numbers into a wide and deep network."""

    hidden_units: tuple[int, ...] = (128, 64)
    """Units of the deep part, a number a layer."""
    block: Literal["plain", "residual"] = "plain"
    """Plain dense layers, or residual blocks (with layer normalization)."""
    activation: Literal["relu", "gelu", "swish", "tanh"] = "relu"
    """Activation of the deep part."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout rate after each layer of the deep part."""
    l2: float = Field(default=0.0, ge=0)
    """L2 penalty on the kernels of the deep part."""
    embedding_dim: int | None = Field(default=None, ge=1)
    """Size of an embedding; by default the rounded 1.6 * cardinality ** 0.56, at most 8."""
    wide: bool = True
    """Adds a linear part over the one-hot categories and crosses."""
    calibrate: bool = True
    """Classification: scales the logits by a temperature fitted on the validation split."""
    builder: str | None = None
    """Dotted path of your own model builder, in place of the built-in one."""


class TrainerConfig(Section):
    """Trainer: how the model is fitted."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    """The architecture."""
    batch_size: int = Field(default=256, ge=1)
    """Rows a step."""
    epochs: int = Field(default=30, ge=1)
    """Passes over the training split, at most."""
    patience: int = Field(default=4, ge=1)
    """Stops after so many epochs without a better validation loss, and goes back to the best weights."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate of the Adam optimizer."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate over the epochs: warm up, then fall along a cosine; or constant."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weights a class by the inverse of its frequency."""
    warm_start: bool = False
    """Starts from the weights of the model now served, matched by feature, term and class. The version that is live is
    then an input of the Trainer: another one trains anew."""
    checkpoint_every_epochs: int = Field(default=1, ge=1)
    """How often a checkpoint is written; a killed training goes on from the last one."""
    tensorboard: bool = True
    """Writes TensorBoard logs into the model_run artifact."""


class FloatRange(Section):
    """A range that the tuner searches."""

    min: float
    """Lower bound."""
    max: float
    """Upper bound."""
    sampling: Literal["linear", "log"] = "linear"
    """How values between the bounds are drawn."""


class Choice(Section):
    """Values that the tuner chooses from."""

    values: tuple[int | float | str | bool, ...] = Field(min_length=1)
    """The values."""


class UnitsChoice(Section):
    """Layer widths that the tuner chooses from."""

    layers: tuple[tuple[int, ...], ...] = Field(min_length=1)
    """Each entry is a `hidden_units`."""


class SearchSpace(Section):
    """What the tuner may vary. A key left at null stays as the trainer section says."""

    learning_rate: FloatRange | None = FloatRange(min=5e-4, max=1e-2, sampling="log")
    """Searches `trainer.learning_rate`."""
    dropout: FloatRange | None = FloatRange(min=0.0, max=0.3)
    """Searches `trainer.model.dropout`."""
    hidden_units: UnitsChoice | None = UnitsChoice(layers=((64, 32), (128, 64), (256, 128, 64)))
    """Searches `trainer.model.hidden_units`."""
    l2: FloatRange | None = None
    """Searches `trainer.model.l2`."""
    batch_size: Choice | None = None
    """Searches `trainer.batch_size`."""


class TunerConfig(Section):
    """Tuner: the search for hyperparameters."""

    when: Literal["always", "changed", "never"] = "changed"
    """`changed` searches anew only when the config of the model or the schema has changed, and otherwise reuses the
    best hyperparameters; `always` also when the data has; `never` takes the trainer section as it is."""
    algorithm: Literal["random", "bayesian", "hyperband"] = "random"
    """The search algorithm (KerasTuner)."""
    max_trials: int = Field(default=4, ge=1)
    """Budget in trials."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Budget in wall-clock seconds; the search ends with the best trial so far."""
    epochs: int = Field(default=5, ge=1)
    """Passes over the training split a trial, at most."""
    patience: int = Field(default=2, ge=1)
    """Early stopping of a trial."""
    max_examples: int = Field(default=50_000, ge=100)
    """Trials see at most so many training examples."""
    search_space: SearchSpace = Field(default_factory=SearchSpace)
    """What the tuner may vary."""
