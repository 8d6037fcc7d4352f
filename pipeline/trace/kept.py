"""What is kept of a run for good, beside its record: `runs/RUN/trace.json`.

The record says which artifacts a run made; their folders may be removed one day. So what a trace tells of them is
copied: rows by span and split, the gate's decisions, the tuner's choice, the training curve, the schema's digest. No
value of a row is among it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from components.data_gate.report import read_last
from pipeline.findings import Outputs, read_json
from pipeline.record import RunRecord, run_folder
from pipeline.state import State, write_json

FORMAT = 1
FILE = "trace.json"

Source = Literal["kept", "artifacts", "not kept"]
"""Where the facts of a run come from: its trace.json; its artifacts, for a run from before there was one; nowhere."""

_SPAN_KEYS = (
    "span",
    "version",
    "label",
    "fingerprint",
    "ingest_key",
    "rows",
    "bad_rows",
    "unlabelled_rows",
    "excluded_rows",
)
_DECISION_KEYS = ("span", "label", "split", "feature", "anomaly", "kind", "policy", "action", "rows", "total")
_TRAINING_KEYS = (
    "best_epoch",
    "best_validation_loss",
    "stopped",
    "temperature",
    "rows",
    "parameters",
    "warm_start",
    "history",
)
_Facts = dict[str, Any]


def keep(state: State, run: RunRecord) -> None:
    """Writes the trace.json of a run, as far as the run got.

    Args:
        state: the line's state.
        run: the run, its verdict included.
    """
    write_json(run_folder(state, run.run_id) / FILE, _gathered(state, run))


def facts_of(state: State, run: RunRecord) -> tuple[_Facts, Source]:
    """Returns what is known of a run's artifacts, and from where.

    Returns:
        `spans`, `gate`, `schema`, `tuner` and `training`, each None where the run did not get that far or nothing is
        left; and `curated_schema`, the curated schema's digest.
    """
    kept = _tolerant(lambda: read_json(str(run_folder(state, run.run_id)), FILE))
    if isinstance(kept, dict) and kept.get("format") == FORMAT:
        return kept, "kept"
    facts = _gathered(state, run)
    found = any(facts[key] is not None for key in ("spans", "gate", "schema", "tuner", "training"))
    return facts, "artifacts" if found else "not kept"


def _gathered(state: State, run: RunRecord) -> _Facts:
    nodes = run.outputs
    readers: dict[str, Callable[[], Any]] = {
        "spans": lambda: _spans(nodes["SpanExampleGen"]),
        "gate": lambda: _gate(nodes.get("DataGate", {}), state, run.run_id),
        "schema": lambda: _schema(nodes["CuratedSchemaGen"]),
        "tuner": lambda: _tuner(nodes["Tuner"]),
        "training": lambda: _training(nodes["Trainer"]),
    }
    return {
        "format": FORMAT,
        "run_id": run.run_id,
        "curated_schema": run.schema_digest or None,
        **{key: _tolerant(read) for key, read in readers.items()},
    }


def _tolerant(read: Callable[[], Any]) -> Any:
    """Returns what is read, or None where something is absent or damaged: what is left is better than nothing."""
    try:
        return read()
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _spans(outputs: Outputs) -> list[_Facts]:
    sidecars = [read_json(artifact["uri"], "span.json") for artifact in outputs["examples"]]
    return [{key: sidecar[key] for key in _SPAN_KEYS if key in sidecar} for sidecar in sidecars]


def _gate(outputs: Outputs, state: State, run_id: str) -> _Facts | None:
    gate = outputs.get("gate")
    # Data that was rejected leaves no artifact.
    report = read_json(gate[0]["uri"], "gate.json") if gate else read_last(state.root, run_id)
    if report is None:
        return None
    return {
        "verdict": report["verdict"],
        "rows": report["rows"],
        "spans": [{key: span[key] for key in ("span", "label", "action", "rows")}
                  | {"quarantined_rows": sum(span["quarantined_rows"].values())}
                  for span in report["spans"]],
        "decisions": [{key: decision.get(key) for key in _DECISION_KEYS} for decision in report["decisions"]],
    }  # fmt: skip


def _schema(outputs: Outputs) -> _Facts:
    (artifact,) = outputs["schema"]
    content = (Path(artifact["uri"]) / "schema.pbtxt").read_bytes()
    return {"digest": hashlib.sha256(content).hexdigest(), "source": artifact["properties"].get("source")}


def _tuner(outputs: Outputs) -> _Facts:
    summary = read_json(outputs["tuner_results"][0]["uri"], "search.json")
    trials = read_json(outputs["tuner_results"][0]["uri"], "tuner_results.json")
    best = json.loads(
        (Path(outputs["best_hyperparameters"][0]["uri"]) / "best_hyperparameters.txt").read_text(encoding="utf-8")
    )
    return {
        "hyperparameters": best["values"],
        "trials": len(trials),
        "score": trials[0]["score"] if trials else None,
        "seconds": summary.get("seconds"),
        "out_of_time": summary.get("out_of_time", False),
        "text": summary["text"],
    }


def _training(outputs: Outputs) -> _Facts:
    training = read_json(outputs["model_run"][0]["uri"], "training.json")
    return {key: training[key] for key in _TRAINING_KEYS if key in training}
