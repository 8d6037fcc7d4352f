"""What the Examples artifacts of runs have, each read once."""

from __future__ import annotations

from pathlib import Path

from data.splits import split_names
from pipeline.record import RunRecord
from pipeline.trace.row_match import Conditions, FoundRow, found_rows, rows_of_split
from schema.errors import ConveyorError


class ExampleRows:
    """What Examples artifacts had, each read once."""

    def __init__(self, conditions: Conditions, seen: set[str]) -> None:
        self._conditions = conditions
        self._seen = seen
        self._found: dict[str, dict[str, list[FoundRow]] | None] = {}

    def of(self, run: RunRecord, number: int) -> dict[str, list[FoundRow]] | None:
        """Returns the rows that a run's ingest had in a span, by split; None where its artifact is gone."""
        for artifact in run.outputs.get("SpanExampleGen", {}).get("examples", ()):
            if artifact["properties"].get("span") == number:
                return self._read(artifact["properties"]["ingest_key"], artifact["uri"], number, run)
        return None

    def kept_by_gate(self, run: RunRecord) -> set[str] | None:
        """Returns the identities of the rows that a run's DataGate let through; None where its artifact is gone."""
        found: set[str] = set()
        through = run.outputs.get("DataGate", {}).get("examples")
        if not through:
            return None
        for artifact in through:
            splits = self._read(artifact["uri"], artifact["uri"], 0, run)
            if splits is None:
                return None
            found |= {row.record for rows in splits.values() for row in rows}
        return found

    def _read(self, key: str, uri: str, number: int, run: RunRecord) -> dict[str, list[FoundRow]] | None:
        if self._found.get(key) is None:
            label = run.config["label"]
            derived = frozenset([label["name"]] if label.get("expression") else [])
            splits = split_names(run.config["examples"]["splits"])
            try:
                there = all((Path(uri) / f"Split-{split}").is_dir() for split in splits)
                self._found[key] = {
                    split: list(found_rows(rows_of_split(uri, split, number, self._seen), self._conditions, derived))
                    for split in splits
                } if there else None  # fmt: skip
            except (ConveyorError, OSError):
                self._found[key] = None
        return self._found[key]
