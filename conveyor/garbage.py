"""A collection of garbage as people are shown it."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from conveyor.output import console, print_json
from pipeline.garbage.collect import collect_garbage
from pipeline.garbage.plan import Item, Plan
from pipeline.state import State
from schema.loading import LoadedLine

_SHOWN = 10


def collect(loaded: LoadedLine, state: State, *, dry_run: bool, as_json: bool) -> None:
    """Collects the garbage of a line and says what goes, before and after.

    Args:
        loaded: the line config.
        state: the line's state.
        dry_run: whether to change nothing.
        as_json: whether stdout gets one JSON document; what goes is then said on stderr before.
    """
    screen = Console(file=sys.stderr, highlight=False) if as_json else console()

    def announce(plan: Plan) -> None:
        if not (as_json and dry_run):
            _print_plan(screen, state.line, plan)

    plan = collect_garbage(loaded, state, dry_run=dry_run, now=time.time(), announce=announce)
    if as_json:
        print_json(_document(state.line, plan, dry_run))
    elif dry_run:
        screen.print("nothing was changed (--dry-run)")
    else:
        screen.print(f"freed {decimal(plan.freed)}" if plan.removed else "nothing was removed")


def _document(line: str, plan: Plan, dry_run: bool) -> dict[str, Any]:
    def item(each: Item) -> dict[str, Any]:
        return {key: value for key, value in dataclasses.asdict(each).items() if value != ""}

    return {
        "line": line,
        "dry_run": dry_run,
        "freed_bytes": plan.freed,
        "removed": [item(each) for each in plan.removed],
        "kept": [item(each) for each in plan.kept],
        "left": [{"path": path, "why": why} for path, why in plan.left],
        "missing": [{"path": path, "why": why} for path, why in plan.missing],
    }


def _print_plan(screen: Console, line: str, plan: Plan) -> None:
    if plan.removed:
        what = "1 folder or file" if len(plan.removed) == 1 else f"{len(plan.removed):,} folders and files"
        screen.print(f"line {line}: {what} to be removed, {decimal(plan.freed)} to be freed")
        screen.print(_table("kind", ((each.kind, each.bytes) for each in plan.removed)))
    else:
        screen.print(f"line {line}: nothing to be removed")
    if plan.kept:
        screen.print("kept:")
        screen.print(_table("because", ((each.why, each.bytes) for each in plan.kept)))
    for what, found in (("left alone", plan.left), ("needed, but not there", plan.missing)):
        for path, why in found[:_SHOWN]:
            screen.print(f"{what}: {path}: {why}", markup=False, soft_wrap=True)
        if len(found) > _SHOWN:
            screen.print(f"{what}: {len(found) - _SHOWN:,} more; --json names them")


def _table(header: str, items: Iterable[tuple[str, int]]) -> Table:
    found: dict[str, list[int]] = {}
    for name, size in items:
        found.setdefault(name, []).append(size)
    table = Table(box=None, pad_edge=False)
    table.add_column(header, overflow="fold")
    table.add_column("count", justify="right")
    table.add_column("size", justify="right")
    for name, sizes in sorted(found.items(), key=lambda entry: (-sum(entry[1]), entry[0])):
        table.add_row(name, f"{len(sizes):,}", decimal(sum(sizes)))
    return table
