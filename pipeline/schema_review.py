"""`conveyor schema`: holds the curated schema against the statistics of the latest run, and takes changes over."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from components.curated_schema_gen import review
from components.curated_schema_gen.evidence import collect_directories
from pipeline.record import load_all
from pipeline.state import State, replace_text
from schema.errors import UsageError
from schema.loading import LoadedLine


@dataclasses.dataclass(frozen=True)
class Review:
    """What the data says otherwise than the curated schema.

    Attributes:
        file: the curated schema.
        run_id: the run whose statistics were read.
        changes: one entry a column and kind of change.
        inferred: the inferred schema that waits for review, when there is no curated one.
    """

    file: Path
    run_id: str
    changes: tuple[review.Change, ...]
    inferred: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the review as JSON-ready data."""
        return {
            "file": str(self.file),
            "run_id": self.run_id,
            "inferred": str(self.inferred) if self.inferred else None,
            "changes": [dataclasses.asdict(change) for change in self.changes],
        }

    def text(self) -> str:
        """Returns the review for people."""
        if self.inferred:
            return (
                f"there is no curated schema at {self.file} yet; {self.inferred} was inferred by run {self.run_id}.\n"
                "Look through it; `conveyor schema update` makes it the curated one."
            )
        return review.render(self.changes, str(self.file))


def review_schema(loaded: LoadedLine, state: State) -> Review:
    """Returns what the statistics of the line's latest run say otherwise than its curated schema.

    Raises:
        UsageError: no run has computed statistics yet.
        ConfigError: the curated schema cannot be read.
    """
    file = (loaded.base_dir / loaded.line.schema_.file).resolve()
    for run in (run for run in reversed(load_all(state)) if not run.is_trial):
        statistics = run.outputs.get("SpanStatisticsGen", {}).get("statistics", [])
        folders = [artifact["uri"] for artifact in statistics]
        if folders and all(Path(folder).is_dir() for folder in folders):
            break
    else:
        raise UsageError(
            f"line {loaded.line.name!r} must have statistics to compare with. Got none in {state.root} instead",
            hint=f"conveyor run {loaded.line.name} --until SpanStatisticsGen",
        )
    if not file.is_file():
        inferred = state.root / "schema" / "inferred.pbtxt"
        if not inferred.is_file():
            raise UsageError(
                f"there is no curated schema at {file}, and none was inferred yet",
                hint=f"conveyor run {loaded.line.name} --until CuratedSchemaGen",
            )
        return Review(file, run.run_id, (), inferred)
    changes = review.diff(
        file.read_text(encoding="utf-8"), str(file), collect_directories(folders), loaded.line.label.name
    )
    return Review(file, run.run_id, tuple(changes))


def update_schema(found: Review, accept: Collection[str] | None) -> tuple[list[str], list[str]]:
    """Takes changes over into the curated schema; everything else in the file stays as it is.

    Args:
        found: what `review_schema` returned.
        accept: columns whose changes are wanted; None takes all.

    Returns:
        The changes that were taken over and those that were left, in words.

    Raises:
        UsageError: a column in `accept` has no change.
    """
    if found.inferred:
        replace_text(found.file, found.inferred.read_text(encoding="utf-8"))
        return [f"{found.file}: taken over from {found.inferred}"], []
    before = found.file.read_text(encoding="utf-8")
    result = review.update(before, str(found.file), found.changes, accept)
    if result.text != before:
        replace_text(found.file, result.text)
    return [change.text for change in result.accepted], [change.text for change in result.left]
