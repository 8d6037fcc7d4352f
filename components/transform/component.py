"""The Transform component: wiring."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.transform.executor import TransformExecutor


class TransformSpec(ComponentSpec):
    """Inputs, outputs and execution properties of Transform."""

    PARAMETERS = {
        "config": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
        "state_dir": ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph)}


class Transform(base_beam_component.BaseBeamComponent):
    """Turns raw columns into features, by the config and one analysis a span.

    Why not TFX's Transform alone: its analyzer cache keys a dataset by its path, holds one entry an analyzer and
    dataset, and adds Beam stages for each, so that 16 spans of 15,000 rows take longer with the cache than without;
    its quantiles and sums depend on the order in which workers finish. Here a span's accumulators are computed once,
    kept by content, and merged exactly; TFX's executor still traces, annotates and writes the graph. A line that names
    its own `preprocessing_fn` gets TFT's analyzers; what a span contributes to them is kept in the same way.
    """

    SPEC_CLASS = TransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(TransformExecutor)

    def __init__(self, examples: Any, schema: Any, config: str, code_digest: str, state_dir: str) -> None:
        """Wires the component.

        Args:
            examples: channel of Examples: the window that passed the gate, GZIP TFRecords of tf.Example.
            schema: channel of Schema.
            config: JSON: `transform`, `label`, `task`, and optionally `times`, {column: unit} of known time columns.
            code_digest: changes when this component's sources do.
            state_dir: the line's state folder; analyses are kept in `analysis/` below it.
        """
        from tfx import types

        spec = TransformSpec(
            examples=examples,
            schema=schema,
            config=config,
            code_digest=code_digest,
            state_dir=state_dir,
            transform_graph=types.Channel(type=standard_artifacts.TransformGraph),
        )
        super().__init__(spec=spec)
