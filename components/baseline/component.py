"""ServedModel: the baseline as a component, for engines whose resolvers do not know the release ledger."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.baseline.executor import Executor


class ServedModelSpec(ComponentSpec):
    """Channels and exec properties of ServedModel."""

    PARAMETERS = {"ledger": ExecutionParameter(type=str), "code_digest": ExecutionParameter(type=str)}
    INPUTS = {"candidate": ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {"model": ChannelParameter(type=standard_artifacts.Model)}


class ServedModel(base_component.BaseComponent):
    """The model that the release ledger says is live: what `ServedModelStrategy` resolves on this machine.

    KubeflowV2DagRunner compiles a Resolver with two strategies of TFX only, latest artifact and latest blessed model.
    Neither is the model that is served: see the strategy.

    Output `model`: one Model artifact, or none when nothing was released.
    """

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, candidate: types.BaseChannel, ledger: str, code_digest: str) -> None:
        """Wires the component.

        Args:
            candidate: the model just trained.
            ledger: path of the release ledger.
            code_digest: changes with the sources of this component.
        """
        model: Any = types.Channel(type=standard_artifacts.Model)
        super().__init__(spec=ServedModelSpec(candidate=candidate, ledger=ledger, code_digest=code_digest, model=model))
