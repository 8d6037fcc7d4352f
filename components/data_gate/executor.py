"""Executor of DataGate."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.data_gate import artifact, findings, policy, report, window
from components.span_example_validator.executor import read_anomalies, read_schema
from components.span_statistics_gen import artifacts, records, statistics
from schema.errors import DataRejected

_MEASURES = {1: "infinity_norm", 2: "jensen_shannon_divergence"}
_FORMAT_PROPERTIES = ("file_format", "payload_format")


@dataclasses.dataclass
class _Span:
    """A span of the window, and what the gate made of it."""

    examples: types.Artifact
    decisions: list[policy.Decision] = dataclasses.field(default_factory=list)
    keep_out: dict[str, dict[int, list[str]]] = dataclasses.field(default_factory=dict)
    rows: dict[str, int] = dataclasses.field(default_factory=dict)
    drift: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def used(self) -> bool:
        return all(decision.action != "quarantine_span" for decision in self.decisions)

    def kept(self) -> dict[str, int]:
        return {split: count - len(self.keep_out.get(split, ())) for split, count in self.rows.items()}


class Executor(base_executor.BaseExecutor):
    """Decides about every anomaly, and writes the window of what passed."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `DataGate`.

        Raises:
            DataRejected: a policy says `fail`, or quarantine leaves nothing to train on.
        """
        policies = policy.policies(json.loads(exec_properties["config"]))
        state_dir = exec_properties["state_dir"]
        spans = self._judge(input_dict, policies)
        decisions = [decision for span in spans for decision in span.decisions]
        left: collections.Counter[str] = collections.Counter()
        for span in spans:
            left.update(span.kept() if span.used else dict.fromkeys(span.rows, 0))
        empty = not left or any(count <= 0 for count in left.values())
        rejected = policy.rejection(decisions, empty, str(report.last_report(state_dir)))

        (output,), (gate,) = output_dict["examples"], output_dict["gate"]
        if not rejected:
            self._write_window(spans, output)
        files = {} if rejected else {span.examples.span: self._quarantine(span, state_dir) for span in spans}
        document = report.build(
            [
                {
                    "span": span.examples.span,
                    "label": artifacts.span_label(span.examples),
                    "action": "used" if span.used else "quarantined",
                    "rows": span.kept(),
                    "quarantined_rows": {split: len(rows) for split, rows in span.keep_out.items() if rows},
                    "quarantine_file": files.get(span.examples.span),
                }
                for span in spans
            ],
            decisions,
            [entry for span in spans for entry in span.drift],
            rejected,
        )
        report.write_last(document, state_dir, self._context.pipeline_run_id if self._context else None)
        if rejected:
            raise DataRejected(rejected[0], hint=rejected[1])
        report.write(document, Path(gate.uri) / artifact.REPORT_FILE)
        gate.set_string_custom_property("verdict", document["verdict"])
        counts = {
            "warnings": sum(decision.action == "warn" for decision in decisions),
            "quarantined_rows": sum(len(rows) for span in spans if span.used for rows in span.keep_out.values()),
            "quarantined_spans": sum(not span.used for span in spans),
        }
        for name, count in counts.items():
            gate.set_int_custom_property(name, count)

    def _judge(self, input_dict: dict[str, list[types.Artifact]], policies: dict[str, str]) -> list[_Span]:
        schema = read_schema(input_dict["schema"][0])
        statistics_of = {span.span: span for span in input_dict["statistics"]}
        anomalies_of = {span.span: span for span in input_dict["anomalies"]}
        spans: list[_Span] = []
        previous: dict[str, Any] = {}
        for examples in artifacts.by_span(input_dict["input_examples"]):
            span = _Span(examples)
            current = {}
            for name in artifacts.split_names(examples):
                current[name] = statistics.read_statistics(statistics_of[examples.span].uri, name)
                split = findings.Split(
                    span=examples.span,
                    label=artifacts.span_label(examples),
                    split=name,
                    files=tuple(records.split_files(examples.uri, name)),
                    statistics=current[name],
                    anomalies=read_anomalies(anomalies_of[examples.span].uri, name),
                    previous=previous.get(name),
                )
                span.rows[name] = statistics.num_examples(current[name])
                decisions, offences = findings.decide(split, schema, policies)
                span.decisions += decisions
                span.drift += _drift(split)
                for rule, found in offences.items():
                    for row in found.rows:
                        reasons = span.keep_out.setdefault(name, {}).setdefault(row, [])
                        reasons.append(f"{rule.kind} of {rule.feature}")
            spans.append(span)
            previous = current
        return spans

    def _write_window(self, spans: list[_Span], output: types.Artifact) -> None:
        used = [span for span in spans if span.used]
        splits = artifacts.split_names(used[0].examples)
        for split in splits:
            (Path(output.uri) / f"Split-{split}").mkdir(parents=True, exist_ok=True)
        for span in used:
            window.write_span(_records(span), output.uri)
        newest = used[-1].examples
        output.span = newest.span
        output.version = newest.version
        output.split_names = artifact_utils.encode_split_names(splits)
        for name in _FORMAT_PROPERTIES:
            if newest.has_custom_property(name):
                stored = newest.mlmd_artifact.custom_properties[name]
                output.mlmd_artifact.custom_properties[name].CopyFrom(stored)
        output.set_int_custom_property(artifacts.ROWS_PROPERTY, sum(sum(span.kept().values()) for span in used))

    def _quarantine(self, span: _Span, state_dir: str) -> str | None:
        if not span.used:
            return None
        file = window.write_quarantine(_records(span), state_dir)
        return str(file) if file else None


def _records(span: _Span) -> window.SpanRecords:
    examples = span.examples
    return window.SpanRecords(
        span=examples.span,
        label=artifacts.span_label(examples),
        uri=examples.uri,
        ingest_key=examples.get_string_custom_property(artifacts.INGEST_KEY_PROPERTY),
        splits=tuple(artifacts.split_names(examples)),
        keep_out=span.keep_out,
    )


def _drift(split: findings.Split) -> list[dict[str, Any]]:
    return [
        {
            "span": split.span,
            "label": split.label,
            "split": split.split,
            "feature": ".".join(info.path.step),
            "measure": _MEASURES.get(measurement.type, str(measurement.type)),
            "value": measurement.value,
            "threshold": measurement.threshold,
        }
        for info in sorted(split.anomalies.drift_skew_info, key=lambda info: tuple(info.path.step))
        for measurement in info.drift_measurements
    ]
