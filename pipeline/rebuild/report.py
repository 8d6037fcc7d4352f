"""What a rebuild found."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipeline.rebuild.comparison import Compared
from pipeline.rebuild.data import DataFinding


@dataclasses.dataclass
class Report:
    """What a rebuild found.

    Attributes:
        run_id: the run that was rebuilt.
        version: the model version that it released, or None.
        folder: where the rebuild is.
        rebuilt_run_id: the run that rebuilt it, or None when it did not come to that.
        data: what is not as it was about the data.
        code: where the code came from.
        code_differences: source files that are not as they were.
        environment: where the environment came from.
        surroundings: in what the rebuild's surroundings differ from the run's.
        search: what was done about the search for hyperparameters.
        notes: what else is to be known.
        made: artifact by artifact.
        metrics: metrics that differ.
        first: the first difference, in words, or an empty string.
        model_digests: of the run and of the rebuild.
        outcomes: the verdict of the run and of the rebuild.
    """

    run_id: str
    version: int | None
    folder: str
    rebuilt_run_id: str | None = None
    data: list[DataFinding] = dataclasses.field(default_factory=list)
    code: str = ""
    code_differences: list[str] = dataclasses.field(default_factory=list)
    environment: str = ""
    surroundings: list[str] = dataclasses.field(default_factory=list)
    search: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    made: list[Compared] = dataclasses.field(default_factory=list)
    metrics: list[str] = dataclasses.field(default_factory=list)
    first: str = ""
    model_digests: tuple[str | None, str | None] = (None, None)
    outcomes: tuple[str | None, str | None] = (None, None)

    @property
    def equal(self) -> bool:
        """Whether the run was rebuilt, and all that it made is equal."""
        return (
            bool(self.made)
            and all(one.equal for one in self.made)
            and not self.metrics
            and self.model_digests[0] == self.model_digests[1]
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-ready data."""
        return {**dataclasses.asdict(self), "equal": self.equal}
