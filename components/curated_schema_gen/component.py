"""CuratedSchemaGen: the TFX component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.curated_schema_gen import executor


class CuratedSchemaGenSpec(types.ComponentSpec):
    """Inputs, outputs and parameters of CuratedSchemaGen."""

    PARAMETERS = {
        "config": component_spec.ExecutionParameter(type=str),
        "schema_file": component_spec.ExecutionParameter(type=str),
        "schema_digest": component_spec.ExecutionParameter(type=str),
        "schema_text": component_spec.ExecutionParameter(type=str, optional=True),
        "code_digest": component_spec.ExecutionParameter(type=str),
        "state_dir": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics)}
    OUTPUTS = {"schema": component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class CuratedSchemaGen(base_component.BaseComponent):
    """The curated schema of the line where there is one, an inferred schema otherwise.

    Why not TFX's ImportSchemaGen and SchemaGen: which of the two is right depends on whether a file exists, and the
    graph must not do I/O; SchemaGen infers from one split of one span (see `inference`), knows no environments and no
    drift bounds; ImportSchemaGen copies a file unchecked. The result is a standard Schema artifact.
    """

    SPEC_CLASS = CuratedSchemaGenSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        config: str,
        state_dir: str,
        code_digest: str,
        schema_file: str = "",
        schema_digest: str = "",
        schema_text: str | None = None,
    ) -> None:
        """Wires the component.

        Args:
            statistics: ExampleStatistics artifacts, one a span.
            config: JSON with the keys `label`, `examples` (of which `columns`) and `validation` (of which
                `drift_comparator`) of the line config; only the label's `name` is required.
            state_dir: the line's state folder; an inferred schema is written to `schema/inferred.pbtxt` in it.
            code_digest: changes when the sources of this component change.
            schema_file: path of the curated schema. It need not exist.
            schema_digest: digest of that file's content (empty when it does not exist), so that an edit is noticed.
            schema_text: that file's content, for an executor that does not see the file; without it, the file is read.
        """
        super().__init__(
            spec=CuratedSchemaGenSpec(
                statistics=statistics,
                config=config,
                schema_file=schema_file,
                schema_digest=schema_digest,
                schema_text=schema_text,
                code_digest=code_digest,
                state_dir=state_dir,
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )
