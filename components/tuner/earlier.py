"""An earlier search: what a rebuild repeats, trial by trial, or takes over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from schema.base import Handover
from schema.errors import UsageError


class MadeTrial(Handover):
    """A trial that was made."""

    trial_id: str
    """KerasTuner's id of it."""
    epochs: int = Field(ge=1)
    """How many epochs it was trained."""


class EarlierSearch(Handover):
    """An earlier search, to be repeated or taken over."""

    run_id: str
    """The run that searched."""
    made: tuple[MadeTrial, ...] | None = Field(default=None, min_length=1)
    """Its trials in order of start, for a search that a clock cut short: these are made again, and no others."""
    hyperparameters: dict[str, Any] | None = None
    """KerasTuner's config of the best hyperparameters, for a search on other data: they are taken as they are."""
    trials: tuple[dict[str, Any], ...] = ()
    """With `hyperparameters`: id, score and values of the search's trials, the best first."""

    @model_validator(mode="after")
    def _one_of_both(self) -> EarlierSearch:
        if (self.made is None) == (self.hyperparameters is None):
            raise ValueError("must have either `made` or `hyperparameters`")
        return self


def read_earlier_search(path: Path) -> EarlierSearch:
    """Reads a file with an earlier search.

    Raises:
        UsageError: the file cannot be read, or is none.
    """
    try:
        return EarlierSearch.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        problem = str(error.strerror)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {first['msg']}" if where else str(first["msg"])
    except ValueError as error:
        problem = str(error)
    raise UsageError(
        f"{path} must be an earlier search, as `conveyor reproduce` writes it. Got instead: {problem}",
        hint="name such a file, or leave --repeat-search out",
    )
