"""What a node found, in a few words, read from its output artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Outputs = dict[str, list[dict[str, Any]]]


def describe_artifact(artifact: Any) -> dict[str, Any]:
    """Returns a TFX artifact as JSON-ready data: `uri`, `id`, `type` and its custom properties."""
    properties: dict[str, Any] = {}
    proto = artifact.mlmd_artifact
    for source in (proto.properties, proto.custom_properties):
        for key, value in sorted(source.items()):
            kind = value.WhichOneof("value")
            if kind in ("string_value", "int_value", "double_value"):
                properties[key] = getattr(value, kind)
    return {"uri": artifact.uri, "id": artifact.id, "type": artifact.type_name, "properties": properties}


def read_json(folder: str, name: str) -> Any:
    """Returns the parsed JSON file `name` in an artifact's folder, or None when it is not there."""
    path = Path(folder) / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def finding(node: str, outputs: Outputs) -> str:
    """Returns what `node` found, or an empty text when there is nothing to say."""
    describe = _DESCRIBERS.get(node)
    try:
        return describe(outputs) if describe else ""
    except (KeyError, IndexError, TypeError, ValueError, OSError):
        return ""


def _plural(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _examples(outputs: Outputs) -> str:
    spans = [read_json(artifact["uri"], "span.json") for artifact in outputs["examples"]]
    rows = sum(sum(span["rows"].values()) for span in spans)
    bad = sum(span["bad_rows"] for span in spans)
    unlabelled = sum(span["unlabelled_rows"] for span in spans)
    text = f"{_plural(rows, 'row')} in {_plural(len(spans), 'span')}"
    if bad:
        text += f", {_plural(bad, 'bad row')} in quarantine"
    excluded = [artifact["properties"].get("excluded_rows") for artifact in outputs["examples"]]
    if None not in excluded:
        text += f", {_plural(sum(excluded), 'row')} excluded"
    return text + (f", {unlabelled:,} without label" if unlabelled else "")


def _statistics(outputs: Outputs) -> str:
    return _plural(len(outputs["statistics"]), "span")


def _gate(outputs: Outputs) -> str:
    gate = read_json(outputs["gate"][0]["uri"], "gate.json")
    decisions = gate["decisions"]
    if not decisions:
        return "no anomalies"
    counts: dict[str, int] = {}
    for decision in decisions:
        counts[decision["policy"]] = counts.get(decision["policy"], 0) + 1
    return ", ".join(f"{number} x {policy}" for policy, number in sorted(counts.items()))


def _transform(outputs: Outputs) -> str:
    plan = read_json(outputs["transform_graph"][0]["uri"], "features.json")
    return f"{_plural(len(plan['outputs']), 'feature')} from {_plural(len(plan['columns']), 'column')}"


def _tuner(outputs: Outputs) -> str:
    summary = read_json(outputs["tuner_results"][0]["uri"], "search.json")
    return str(summary["text"])


def _trainer(outputs: Outputs) -> str:
    training = read_json(outputs["model_run"][0]["uri"], "training.json")
    return f"best epoch {training['best_epoch']}, validation loss {training['best_validation_loss']:.4f}"


def _infra(outputs: Outputs) -> str:
    result = read_json(outputs["blessing"][0]["uri"], "validation.json")
    failed = [check["name"] for check in result["checks"] if not check["ok"]]
    if failed:
        return f"failed: {', '.join(failed)}"
    return f"{len(result['checks'])} checks, p99 {result['latency']['p99_ms']:.1f} ms"


def _pusher(outputs: Outputs) -> str:
    properties = outputs["pushed_model"][0]["properties"]
    return f"version {properties['version']}" if properties.get("pushed") else "nothing pushed"


_DESCRIBERS: dict[str, Callable[[Outputs], str]] = {
    "SpanExampleGen": _examples,
    "SpanStatisticsGen": _statistics,
    "DataGate": _gate,
    "Transform": _transform,
    "Tuner": _tuner,
    "Trainer": _trainer,
    "InfraValidator": _infra,
    "Pusher": _pusher,
}
