"""SpanExampleGen: from tables to tf.Examples, one artifact a span."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.span_example_gen import executor


class SpanExampleGenSpec(ComponentSpec):
    """Channels and exec properties of SpanExampleGen."""

    PARAMETERS = {
        "window": ExecutionParameter(type=str),
        "config": ExecutionParameter(type=str),
        "column_types": ExecutionParameter(type=str),
        "code_digest": ExecutionParameter(type=str),
        "state_dir": ExecutionParameter(type=str),
        "exclusions": ExecutionParameter(type=str, optional=True),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}


class SpanExampleGen(base_beam_component.BaseBeamComponent):
    """Ingests a window of spans.

    TFX's own ExampleGens could not do the job: they take one span a run and one artifact a node, write records in a
    random order, fingerprint inputs by size and time, lose a file's bad rows or the whole run with them, and split by
    a hash of the serialized record, which changes with the types that were inferred for the whole table.

    Output `examples`: one Examples artifact a span, of GZIP TFRecords of tf.Example, with the custom properties
    fingerprint, ingest_key, label (str) and rows (int), and a `span.json` beside the splits. Where rows are left out on
    request, also exclusions (the digest of what names them), excluded_rows and unmatched_exclusions (the number of
    conditions that no row of the whole window meets).
    """

    SPEC_CLASS = SpanExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        window: str,
        config: str,
        column_types: str,
        code_digest: str,
        state_dir: str,
        exclusions: str | None = None,
    ) -> None:
        """Wires the component.

        Args:
            window: JSON of the window (`data.window.Window.to_json`), or of an `OpenWindow`, which the executor finds.
            config: JSON with the sections `examples` and `label` of the line config.
            column_types: JSON object, column name to INT, FLOAT or BYTES, of the curated schema; may be `{}`.
            code_digest: changes with the sources of this component.
            state_dir: the line's state folder.
            exclusions: JSON of the `data.exclusions.ExclusionFile` of rows to leave out, or None. Where the file is and
                its digest: what it says is not for ML Metadata, which keeps exec properties for good.
        """
        super().__init__(
            spec=SpanExampleGenSpec(
                window=window,
                config=config,
                column_types=column_types,
                code_digest=code_digest,
                state_dir=state_dir,
                exclusions=exclusions,
                examples=channel.Channel(type=standard_artifacts.Examples),
            )
        )
