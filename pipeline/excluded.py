"""What a run's record says of the rows that were left out on request: where the file was and its digest, and counts."""

from __future__ import annotations

from typing import Any

from data.exclusions import ExclusionFile
from pipeline.record import RunRecord

INGEST = "SpanExampleGen"


def recorded(file: ExclusionFile | None) -> dict[str, Any] | None:
    """Returns what is kept of a file of rows to leave out. What the file says is not among it."""
    if file is None:
        return None
    return {"digest": file.sha256, "columns": list(file.columns), "path": file.path}


def count_excluded(run: RunRecord) -> None:
    """Adds to a run's record how many rows were left out, and how many of the file's rows matched none."""
    found = [artifact["properties"] for artifact in run.outputs.get(INGEST, {}).get("examples", ())]
    if run.exclusions is not None and found and all("excluded_rows" in properties for properties in found):
        run.exclusions["excluded_rows"] = sum(properties["excluded_rows"] for properties in found)
        run.exclusions["unmatched"] = found[0]["unmatched_exclusions"]
