"""The second stage: features, hyperparameters and a model."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tfx.components.trainer.component import Trainer
from tfx.proto import trainer_pb2

from components.transform.component import Transform
from components.tuner.component import RememberingTuner
from pipeline.inputs import RunInputs
from pipeline.sections import section_json
from pipeline.stages.ingest import IngestStage
from pipeline.state import State
from schema.base import canonical_json
from schema.line import Line


@dataclasses.dataclass(frozen=True)
class TrainingStage:
    """Nodes and channels of the stage.

    Attributes:
        nodes: the nodes, in order.
        model: the candidate.
        model_run: the Trainer's logs, its training record and its own predictions.
    """

    nodes: list[Any]
    model: Any
    model_run: Any


def training_stage(line: Line, inputs: RunInputs, state: State, ingest: IngestStage) -> TrainingStage:
    """Returns Transform, Tuner and Trainer, wired."""
    digests = inputs.code_digests
    state_dir = str(state.root)
    transform = Transform(
        examples=ingest.examples,
        schema=ingest.schema,
        config=_transform_config(line),
        code_digest=digests["Transform"],
        state_dir=state_dir,
    )
    train_args = trainer_pb2.TrainArgs(splits=["train"])
    eval_args = trainer_pb2.EvalArgs(splits=["validation"])

    def custom_config(*sections: str, node: str) -> dict[str, Any]:
        return {
            "config": json.loads(section_json(line, *sections)),
            "code_digest": digests[node],
            "state_dir": state_dir,
        }

    tuner = RememberingTuner(
        examples=ingest.examples,
        schema=ingest.schema,
        transform_graph=transform.outputs["transform_graph"],
        train_args=train_args,
        eval_args=eval_args,
        custom_config={
            **custom_config("tuner", "trainer", "transform", "task", "label", "seed", node="Tuner"),
            # A search on a sample is not recalled for all rows.
            **({"sample": line.examples.sample} if line.examples.sample is not None else {}),
            **({"search": inputs.search.model_dump(mode="json", exclude_none=True)} if inputs.search else {}),
        },
    )
    trainer = Trainer(
        run_fn="components.trainer.run.run_fn",
        examples=ingest.examples,
        schema=ingest.schema,
        transform_graph=transform.outputs["transform_graph"],
        hyperparameters=tuner.outputs["best_hyperparameters"],
        train_args=train_args,
        eval_args=eval_args,
        custom_config={
            **custom_config("trainer", "task", "label", "seed", node="Trainer"),
            **_warm_start(inputs.warm_start),
        },
    )
    return TrainingStage(
        nodes=[transform, tuner, trainer],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
    )


def _transform_config(line: Line) -> str:
    span_by = line.examples.span_by
    times = {span_by.column: span_by.unit} if span_by else {}
    return canonical_json({**json.loads(section_json(line, "transform", "label", "task")), "times": times})


def _warm_start(served: tuple[str, str] | None) -> dict[str, str]:
    # The digest is there for the cache: a folder of the same name can hold another model.
    return {"baseline": served[0], "baseline_digest": served[1]} if served else {}
