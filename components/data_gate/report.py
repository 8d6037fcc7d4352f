"""DataGate's report: what `gate.json` says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.data_gate.policy import Decision
from data.whole_file import replace_text

FORMAT = 1


def build(
    spans: Sequence[Mapping[str, Any]],
    decisions: Sequence[Decision],
    drift: Sequence[Mapping[str, Any]],
    rejected: tuple[str, str] | None,
) -> dict[str, Any]:
    """Returns the report.

    Keys: `format`; `verdict` (passed, warned, quarantined or rejected); `message` and `hint` when rejected; `rows`
    (split to rows that may be trained on); `spans` (span, label, action `used` or `quarantined`, rows by split,
    quarantined_rows by split, quarantine_file); `decisions` (see `Decision.to_json`); `drift` (every distance that
    was measured: span, label, split, feature, measure, value, threshold).
    """
    actions = {decision.action for decision in decisions}
    if rejected:
        verdict = "rejected"
    elif actions & {"quarantine_rows", "quarantine_span"}:
        verdict = "quarantined"
    else:
        verdict = "warned" if decisions else "passed"
    rows: dict[str, int] = {}
    for span in spans:
        if span["action"] == "used":
            for split, count in span["rows"].items():
                rows[split] = rows.get(split, 0) + count
    return {
        "format": FORMAT,
        "verdict": verdict,
        "message": rejected[0] if rejected else "",
        "hint": rejected[1] if rejected else "",
        "rows": rows,
        "spans": [dict(span) for span in spans],
        "decisions": [decision.to_json() for decision in decisions],
        "drift": [dict(entry) for entry in drift],
    }


def write(report: Mapping[str, Any], path: Path) -> None:
    """Writes a report as JSON, atomically: a reader sees this report or the one before."""
    replace_text(path, json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def last_report(state_dir: str | Path) -> Path:
    """Returns where the report of the gate's last execution is kept: `<state>/gate/last.json`.

    When data is rejected the execution fails and TFX throws its output artifacts away; this copy stays.
    """
    return Path(state_dir) / "gate" / "last.json"


def write_last(report: Mapping[str, Any], state_dir: str | Path, run_id: str | None) -> None:
    """Keeps the report of an execution under the line's state, with the run that it is of.

    The run's id is in this copy only: in the artifact, which a later run may be given from the cache, it would make
    two runs over the same data differ.
    """
    write({**report, "run_id": run_id}, last_report(state_dir))


def read_last(state_dir: str | Path, run_id: str) -> dict[str, Any] | None:
    """Returns the report that the gate wrote in a run.

    None when the last one is of another run: then the gate was not reached in this one, or was answered from the
    cache and its report is in its artifact, or has run again since.
    """
    path = last_report(state_dir)
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return report if report.get("run_id") == run_id else None
