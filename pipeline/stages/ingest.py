"""The first stage: spans come in, are described, and have to pass the gate."""

from __future__ import annotations

import dataclasses
from typing import Any

from components.curated_schema_gen.component import CuratedSchemaGen
from components.data_gate.component import DataGate
from components.span_example_gen.component import SpanExampleGen
from components.span_example_validator.component import SpanExampleValidator
from components.span_statistics_gen.component import SpanStatisticsGen
from pipeline.inputs import RunInputs
from pipeline.sections import section_json
from pipeline.state import State
from schema.line import Line


@dataclasses.dataclass(frozen=True)
class IngestStage:
    """Nodes and channels of the stage.

    Attributes:
        nodes: the nodes, in order.
        spans: the window as it came in, an artifact a span.
        examples: the window of examples that may be trained on.
        schema: the data schema.
        statistics: the statistics, one artifact a span.
    """

    nodes: list[Any]
    spans: Any
    examples: Any
    schema: Any
    statistics: Any


def ingest_stage(line: Line, inputs: RunInputs, state: State) -> IngestStage:
    """Returns SpanExampleGen, SpanStatisticsGen, CuratedSchemaGen, SpanExampleValidator and DataGate, wired."""
    digests = inputs.code_digests
    state_dir = str(state.root)
    example_gen = SpanExampleGen(
        window=(inputs.open_window or inputs.window).to_json(),
        config=section_json(line, "examples", "label", "task"),
        column_types=inputs.column_types_json,
        code_digest=digests["SpanExampleGen"],
        state_dir=state_dir,
        exclusions=inputs.exclusions.canonical() if inputs.exclusions else None,
    )
    statistics_gen = SpanStatisticsGen(
        examples=example_gen.outputs["examples"],
        code_digest=digests["SpanStatisticsGen"],
        state_dir=state_dir,
    )
    schema_gen = CuratedSchemaGen(
        statistics=statistics_gen.outputs["statistics"],
        config=section_json(line, "label", "examples.columns", "validation.drift_comparator"),
        schema_file=str(inputs.schema_file),
        schema_digest=inputs.schema_digest,
        schema_text=inputs.schema_text,
        code_digest=digests["CuratedSchemaGen"],
        state_dir=state_dir,
    )
    validator = SpanExampleValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        config=section_json(line, "validation.drift_min_examples"),
        code_digest=digests["SpanExampleValidator"],
    )
    gate = DataGate(
        examples=example_gen.outputs["examples"],
        statistics=statistics_gen.outputs["statistics"],
        anomalies=validator.outputs["anomalies"],
        schema=schema_gen.outputs["schema"],
        config=section_json(line, "validation.anomalies"),
        code_digest=digests["DataGate"],
        state_dir=state_dir,
    )
    return IngestStage(
        nodes=[example_gen, statistics_gen, schema_gen, validator, gate],
        spans=example_gen.outputs["examples"],
        examples=gate.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        statistics=statistics_gen.outputs["statistics"],
    )
