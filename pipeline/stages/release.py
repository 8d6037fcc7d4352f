"""The last stage: the candidate is judged, tried out and pushed."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfx.dsl.components.common.resolver import Resolver
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components.baseline.component import ServedModel
from components.baseline.strategy import ServedModelStrategy
from components.evaluator.component import line_evaluator
from components.infra_validator.component import InfraValidator
from components.pusher.component import ReleasePusher
from pipeline.inputs import RunInputs
from pipeline.sections import section_json
from pipeline.stages.ingest import IngestStage
from pipeline.stages.training import TrainingStage
from pipeline.state import State
from schema.line import Line


@dataclasses.dataclass(frozen=True)
class ReleaseStage:
    """Nodes of the stage, in order."""

    nodes: list[Any]


def release_stage(
    line: Line, inputs: RunInputs, state: State, ingest: IngestStage, training: TrainingStage, *, resolvers: bool = True
) -> ReleaseStage:
    """Returns the baseline, Evaluator, InfraValidator and Pusher, wired; see `create_pipeline` for `resolvers`."""
    digests = inputs.code_digests
    baseline: Any = (
        Resolver(
            strategy_class=ServedModelStrategy,
            config={"ledger": str(state.ledger)},
            model=Channel(type=standard_artifacts.Model),
            candidate=training.model,
        )
        if resolvers
        else ServedModel(candidate=training.model, ledger=str(state.ledger), code_digest=digests["baseline"])
    ).with_id("baseline")
    evaluator = line_evaluator(
        line,
        examples=ingest.examples,
        model=training.model,
        baseline_model=baseline.outputs["model"],
        code_digest=digests["Evaluator"],
    )
    infra_validator = InfraValidator(
        model=training.model,
        examples=ingest.examples,
        model_run=training.model_run,
        config=section_json(line, "infra_validator", "task", "label"),
        code_digest=digests["InfraValidator"],
    )
    pusher = ReleasePusher(
        model=training.model,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_validator.outputs["blessing"],
        examples=ingest.spans,
        evaluation=evaluator.outputs["evaluation"],
        config=section_json(line, "pusher", "name"),
        # As it was written: the Pusher refuses a remote URI, which a Path would have mangled.
        push_destination=line.pusher.push_destination or str(state.base_path(None)),
        ledger=str(state.ledger),
        code_digest=digests["Pusher"],
        signing=None if inputs.signing is None else inputs.signing.canonical(),
    )
    return ReleaseStage(nodes=[baseline, evaluator, infra_validator, pusher])
