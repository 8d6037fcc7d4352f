"""The line config: the only definition of what a `line.yaml` may say."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from schema.base import Section
from schema.beam import BeamConfig
from schema.features import TransformConfig
from schema.ingest import ExamplesConfig, Label, SchemaConfig, ValidationConfig
from schema.orchestration import OrchestrationConfig
from schema.release import (
    EvaluatorConfig,
    InfraValidatorConfig,
    MetadataConfig,
    PusherConfig,
)
from schema.retention import RetentionConfig
from schema.serving import ServingConfig
from schema.training import TrainerConfig, TunerConfig

Task = Literal["binary_classification", "multiclass_classification", "regression"]


class Line(Section):
    """One pipeline: a table, the column to predict, and what the model must reach."""

    name: str
    """The line's name: letters, digits and hyphens. Names its state, its pipeline and its served model."""
    description: str = ""
    """What the line is for, and where its data comes from."""
    task: Task
    """What kind of prediction it is."""
    label: Label
    """What is predicted."""
    examples: ExamplesConfig
    """SpanExampleGen: where rows come from."""
    schema_: SchemaConfig = Field(default_factory=SchemaConfig, alias="schema")
    """The curated data schema."""
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    """ExampleValidator and DataGate."""
    transform: TransformConfig = Field(default_factory=TransformConfig)
    """Transform: how raw columns become features."""
    tuner: TunerConfig = Field(default_factory=TunerConfig)
    """Tuner: the search for hyperparameters."""
    trainer: TrainerConfig = Field(default_factory=TrainerConfig)
    """Trainer: how the model is fitted."""
    evaluator: EvaluatorConfig = Field(default_factory=EvaluatorConfig)
    """Evaluator: metrics over slices, and what they must reach."""
    infra_validator: InfraValidatorConfig = Field(default_factory=InfraValidatorConfig)
    """InfraValidator: can the candidate be served?"""
    pusher: PusherConfig = Field(default_factory=PusherConfig)
    """Pusher: where blessed models go."""
    serving: ServingConfig = Field(default_factory=ServingConfig)
    """Serving: what is kept of the served model's requests, and who may ask it."""
    beam: BeamConfig = Field(default_factory=BeamConfig)
    """Beam: how the data-parallel components run."""
    metadata: MetadataConfig = Field(default_factory=MetadataConfig)
    """ML Metadata: where the record of runs is kept."""
    retention: RetentionConfig = Field(default_factory=RetentionConfig)
    """Retention: what `conveyor gc` keeps."""
    orchestration: OrchestrationConfig = Field(default_factory=OrchestrationConfig)
    """Kubeflow Pipelines or Vertex AI Pipelines: what the pipeline spec says."""
    seed: int = Field(default=42, ge=0, lt=2**31)
    """Seeds every random choice. With the same seed, data, code and config the model is the same."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
            raise ValueError(f"must be lower-case letters, digits and inner hyphens, at most 63. Got {value!r} instead")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Line:
        if self.label.name in self.transform.features:
            raise ValueError(f"transform.features must not treat the label {self.label.name!r} as a feature")
        if self.task == "regression" and (self.label.classes or self.label.positive):
            raise ValueError("label.classes and label.positive must not be set for a regression")
        if self.label.positive is not None:
            if self.task != "binary_classification":
                raise ValueError("label.positive must only be set for binary_classification")
            if self.label.classes and self.label.positive not in self.label.classes:
                raise ValueError(
                    f"label.positive must be one of {list(self.label.classes)}. Got {self.label.positive!r} instead"
                )
        if self.task == "binary_classification" and self.label.classes and len(self.label.classes) != 2:
            raise ValueError(
                f"label.classes must be two for binary_classification. Got {len(self.label.classes)} instead"
            )
        if self.evaluator.fairness and self.task != "binary_classification":
            raise ValueError("evaluator.fairness must only be set for binary_classification")
        return self
