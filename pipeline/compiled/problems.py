"""What stands in the way of a submission: each problem with the config key to change; all of them are told at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from schema.errors import ConfigError, SubmissionError


@dataclasses.dataclass(frozen=True)
class Problem:
    """A thing that is wrong.

    Attributes:
        key: the config key to change.
        message: what must be how, and what it is instead.
        hint: what to do.
        config: whether the config is wrong, and not a service that cannot be reached or refuses.
    """

    key: str
    message: str
    hint: str
    config: bool = True


def refuse(files: Sequence[Path], problems: Sequence[Problem]) -> None:
    """Ends a submission that something stands in the way of.

    Args:
        files: the config's files.
        problems: what is wrong; none lets it pass.

    Raises:
        ConfigError: there are problems, and the config is to blame for at least one.
        SubmissionError: there are problems.
    """
    if not problems:
        return
    count = f"{len(problems)} things are" if len(problems) > 1 else "1 thing is"
    lines = "".join(f"\n  {one.key}: {one.message}\n    next: {one.hint}" for one in problems)
    kind = ConfigError if any(one.config for one in problems) else SubmissionError
    raise kind(f"{', '.join(map(str, files))}: {count} wrong, and nothing was submitted:{lines}")
