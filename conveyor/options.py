"""Arguments and options that several verbs share, and how they find a line."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pipeline.state import State
    from schema.loading import LoadedLine

F = TypeVar("F", bound=Callable[..., Any])


def line_argument(function: F) -> F:
    """Adds the LINE argument and the `--env` option."""
    function = click.option("--env", "environment", metavar="NAME", help="Lay line.NAME.yaml over the line config.")(
        function
    )
    return click.argument("line")(function)


def json_option(function: F) -> F:
    """Adds `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else.")(
        function
    )


def open_line(
    line: str, environment: str | None, *, resolve_secrets: bool | Collection[str] = True
) -> tuple[LoadedLine, State]:
    """Returns a line's config and state.

    Args:
        line: what the user calls the line.
        environment: the overlay to lay over it.
        resolve_secrets: whether secrets are looked up, or the sections whose secrets are.

    Raises:
        ConfigError: there is no such line, or its config is not valid.
    """
    from pipeline.state import State
    from schema.loading import find_line, load_line

    cwd = Path.cwd()
    loaded = load_line(find_line(line, cwd), environment=environment, resolve_secrets=resolve_secrets)
    return loaded, State.locate(loaded.line.name, os.environ, cwd)


def states(line: str | None) -> list[State]:
    """Returns the states of all lines, or of the one that is named.

    Raises:
        UsageError: that line has no state here.
    """
    from pipeline.state import State, home
    from schema.errors import UsageError

    found = State.all(os.environ, Path.cwd())
    chosen = [state for state in found if line in (None, state.line)]
    if line is not None and not chosen:
        known = ", ".join(state.line for state in found) or "none yet"
        raise UsageError(
            f"LINE must have been run before. Got {line!r} instead; lines with runs: {known}",
            hint=f"conveyor run {line}, or set CONVEYOR_HOME (now {home(os.environ, Path.cwd())})",
        )
    return chosen


def the_state(line: str | None) -> State:
    """Returns the state of the line that is named, or of the only one.

    Raises:
        UsageError: no line is named and there is not exactly one.
    """
    from schema.errors import UsageError

    chosen = states(line)
    if len(chosen) != 1:
        known = ", ".join(state.line for state in chosen) or "none yet"
        raise UsageError(f"LINE must be named. Lines with runs: {known}")
    return chosen[0]
