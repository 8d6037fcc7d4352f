"""ReleasePusher: wires the push into the DAG."""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.pusher.executor import Executor


class ReleasePusherSpec(ComponentSpec):
    """What ReleasePusher takes and gives."""

    PARAMETERS = {
        "config": ExecutionParameter(type=str),
        "push_destination": ExecutionParameter(type=str),
        "ledger": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
        "signing": ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing, optional=True),
        "examples": ChannelParameter(type=standard_artifacts.Examples, optional=True),
        "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True),
    }
    OUTPUTS = {"pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)}


class ReleasePusher(base_component.BaseComponent):
    """Pushes a blessed model as the next version and records it in the release ledger.

    TFX's Pusher cannot do the job: it copies file by file into the folder that TensorFlow Serving watches, names
    versions by the clock, keeps no record of who released what, and pushes when a blessing that it was promised
    is missing.

    Args:
        model: the candidate, a Model.
        config: JSON with the line's `pusher` section and its `name`.
        push_destination: the model base path, a local folder.
        ledger: path of the release ledger.
        code_digest: changes when the component's sources change.
        model_blessing: the Evaluator's ModelBlessing; when wired it must be there and bless.
        infra_blessing: the InfraValidator's InfraBlessing; when wired it must be there and bless.
        examples: the window that came in, an Examples artifact a span; a signature names their fingerprints.
        evaluation: the Evaluator's ModelEvaluation; a signature names its metrics.
        signing: JSON of a `components.pusher.signing.SigningOrder`; without it, releases are not signed.
    """

    SPEC_CLASS = ReleasePusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: BaseChannel,
        config: str,
        push_destination: str,
        ledger: str,
        code_digest: str,
        model_blessing: BaseChannel | None = None,
        infra_blessing: BaseChannel | None = None,
        examples: BaseChannel | None = None,
        evaluation: BaseChannel | None = None,
        signing: str | None = None,
    ) -> None:
        super().__init__(
            ReleasePusherSpec(
                model=model,
                model_blessing=model_blessing,
                infra_blessing=infra_blessing,
                examples=examples,
                evaluation=evaluation,
                signing=signing,
                config=config,
                push_destination=push_destination,
                ledger=ledger,
                code_digest=code_digest,
                pushed_model=Channel(type=standard_artifacts.PushedModel),
            )
        )
        self.with_id("Pusher")
