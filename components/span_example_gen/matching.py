"""Which of the rows to leave out are in which span, found before it is known what must be encoded anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.span_example_gen.staging import staged_batches
from data.exclusions import ExclusionFile, Exclusions
from data.whole_file import replace_text
from schema.base import Handover
from schema.ingest import ColumnType


class MatchJob(Handover):
    """One span to look through."""

    folder: str
    """The staging folder with its rows."""
    parts: tuple[tuple[str, int], ...]
    """Where in that folder its rows are."""
    types: dict[str, ColumnType]
    """Types of the span's columns."""
    exclusions: ExclusionFile
    """The rows to leave out."""
    target: str
    """The file for the positions of the conditions that are met."""

    @property
    def reads(self) -> list[str]:
        """The staging folder and the rows to leave out."""
        return [self.folder, self.exclusions.path]

    @property
    def writes(self) -> list[str]:
        """The file that the job makes."""
        return [self.target]


def match_span(job: MatchJob) -> None:
    """Writes the positions of the conditions that rows of a span meet."""
    finder = job.exclusions.read().finder(job.types)
    met: set[int] = set()
    for table in staged_batches(Path(job.folder), job.parts):
        met |= finder.met(table)
    replace_text(Path(job.target), json.dumps(sorted(met)))


@dataclass(frozen=True)
class Excluded:
    """Where the rows to leave out are.

    Attributes:
        digests: span to the digest of the conditions that its rows meet; spans without such rows are not in it.
        unmatched: the number of conditions that no row meets.
    """

    digests: Mapping[int, str]
    unmatched: int

    @classmethod
    def none(cls) -> Excluded:
        """Returns that there is nothing to leave out."""
        return cls({}, 0)

    @classmethod
    def of(cls, exclusions: Exclusions, met: Mapping[int, Sequence[int]]) -> Excluded:
        """Returns it for conditions, by span the positions of those that are met."""
        digests = {span: exclusions.digest_of(numbers) for span, numbers in met.items() if numbers}
        return cls(
            digests, len(exclusions.conditions) - len({number for numbers in met.values() for number in numbers})
        )
