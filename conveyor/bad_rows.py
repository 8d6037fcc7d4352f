"""What `conveyor predict` and `conveyor batch` say of rows without a prediction."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from rich.console import Console

SHOWN = 5
"""So many bad rows are named, at most."""


def say(screen: Console, text: str) -> None:
    """Prints a line as it is."""
    screen.print(text, markup=False, soft_wrap=True)


def tell_bad_rows(
    screen: Console, count: int, rows: int, allowed: float, named: Iterable[object], *, in_output: bool
) -> int:
    """Says how many rows are bad and names some.

    Args:
        screen: where it is said.
        count: how many are bad.
        rows: how many there are.
        allowed: the share that may be bad (`examples.max_bad_rows`).
        named: the bad rows, each as it is to be named.
        in_output: whether all of them are in the output's error column.

    Returns:
        The exit code: 0, or 4 when more are bad than may be.
    """
    if not count:
        return 0
    too_many = count > allowed * rows
    share = f"{count:,} of {rows:,} rows ({count / rows:.2%})"
    if too_many:
        expected = f"at most {allowed:.4g} of the rows (examples.max_bad_rows)"
        say(screen, f"conveyor: bad rows must be {expected}. Got {share} instead, such as")
    else:
        say(screen, f"bad rows: {share}, such as")
    for bad in islice(named, SHOWN):
        say(screen, f"  {bad}")
    if in_output:
        say(screen, "  next: see the error column for all of them")
    return 4 if too_many else 0
