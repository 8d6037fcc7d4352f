"""A line's state with runs, releases and captured requests, made without running anything."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pipeline.record import RunRecord, save
from pipeline.state import State
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent

RELEASED = 1_790_000_000.0
"""When the first version was pushed, seconds since the epoch."""


def when(seconds: float) -> str:
    """Returns a time as the ledger has it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


@dataclasses.dataclass
class Home:
    """The state of a line `cabs`."""

    state: State

    def event(self, kind: Any, version: int, seconds: float, **more: Any) -> LedgerEvent:
        """Appends an event to the ledger."""
        made = {"run_id": run_id(version), "model_digest": f"{version:064x}"} if kind == "pushed" else {}
        event = LedgerEvent(event=kind, version=version, who="ops", when=when(seconds), **{**made, **more})
        Ledger(self.state.ledger).append(event)
        return event

    def run(self, number: int, fingerprints: dict[str, str] | None = None, **more: Any) -> RunRecord:
        """Saves the record of a run that has pushed version `number`, with artifacts."""
        spans = [
            {"span": place, "version": 0, "label": label, "files": [], "fingerprint": fingerprint}
            for place, (label, fingerprint) in enumerate((fingerprints or {"2026Q1": "a" * 64}).items(), start=40)
        ]
        record = RunRecord(
            run_id=run_id(number),
            line="cabs",
            started=when(RELEASED),
            finished=when(RELEASED + 1),
            config={"examples": {"input": "t.csv", "splits": {"train": 7, "validation": 1, "eval": 2}}},
            config_digest="c" * 64,
            inputs_digest="d" * 64,
            schema_digest="s" * 64,
            provenance={"git_commit": "e" * 40, "git_dirty": True, "git_diff_sha256": "f" * 64, "python": "3.10"},
            window={"format": "csv", "spans": spans},
            verdict={"outcome": "pushed", "version": number, "exit_code": 0, "reasons": [], "nothing_new": False},
        )
        record = dataclasses.replace(record, **more)
        self._artifacts(record)
        save(self.state, record)
        return record

    def _artifacts(self, record: RunRecord) -> None:
        root = self.state.pipeline_root / record.run_id

        def put(node: str, key: str, folder: str, **files: Any) -> None:
            target = root / node / folder
            target.mkdir(parents=True)
            for name, content in files.items():
                path = target / name.replace("__", ".")
                path.write_text(content if isinstance(content, str) else json.dumps(content))
            outputs = record.node(node).outputs
            outputs.setdefault(key, []).append({"uri": str(target), "id": 1, "type": key, "properties": {}})

        for span in record.window["spans"]:
            put(
                "SpanExampleGen",
                "examples",
                f"span-{span['span']}",
                span__json={
                    **{key: span[key] for key in ("span", "version", "label", "fingerprint")},
                    "ingest_key": "k",
                    "rows": {"train": 70, "validation": 10, "eval": 20},
                    "bad_rows": 1,
                    "unlabelled_rows": 0,
                    "excluded_rows": 3,
                    "empty_columns": [],
                },
            )
        put("CuratedSchemaGen", "schema", "schema", schema__pbtxt="feature {}")
        decision = {"span": 40, "label": "2026Q1", "split": "train", "feature": "fare", "kind": "drift"}
        put(
            "DataGate",
            "gate",
            "gate",
            gate__json={
                "verdict": "warned",
                "rows": {"train": 70},
                "spans": [
                    {
                        "span": span["span"],
                        "label": span["label"],
                        "action": "used",
                        "rows": {"train": 70},
                        "quarantined_rows": {"train": 2},
                    }
                    for span in record.window["spans"]
                ],
                "decisions": [{**decision, "action": "warn", "policy": "warn", "values": [["Ada Lovelace", 1]]}],
            },
        )
        put(
            "Tuner",
            "tuner_results",
            "results",
            search__json={"text": "best of 2 trials", "seconds": 1.5, "out_of_time": True},
            tuner_results__json=[{"score": 0.25}, {"score": 0.5}],
        )
        put("Tuner", "best_hyperparameters", "best", best_hyperparameters__txt={"values": {"learning_rate": 0.01}})
        put(
            "Trainer",
            "model_run",
            "run",
            training__json={
                "best_epoch": 1,
                "best_validation_loss": 0.25,
                "stopped": "patience",
                "rows": {"train": 70},
                "history": [{"epoch": n, "loss": 1 / (n + 1), "val_loss": 0.5} for n in range(2)],
            },
        )


def run_id(number: int) -> str:
    """Returns the id of the run that has pushed version `number`."""
    return f"20260921T1{number:05d}.000000Z-aaaaaa"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The state of a line `cabs` under CONVEYOR_HOME, empty."""
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path))
    (tmp_path / "cabs" / "runs").mkdir(parents=True)
    return Home(State(tmp_path / "cabs", "cabs"))
