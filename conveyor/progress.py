"""Live progress of a run: a row a component, redrawn in place on a terminal and a line a change elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.record import NodeRecord, RunRecord

_MARKS = {
    "waiting": "[dim]·[/]",
    "running": "[yellow]▶[/]",
    "done": "[green]✓[/]",
    "cached": "[cyan]=[/]",
    "taken": "[cyan]<[/]",
    "skipped": "[dim]-[/]",
    "failed": "[red]✗[/]",
}


class Progress:
    """Shows a run's record while it changes.

    Args:
        console: where to draw.
        nodes: ids of all nodes, in order.
    """

    def __init__(self, console: Console, nodes: tuple[str, ...]) -> None:
        self._console = console
        self._nodes = nodes
        self._run: RunRecord | None = None
        self._started: dict[str, float] = {}
        self._printed: dict[str, str] = {}
        self._live = (
            Live(console=console, refresh_per_second=4, get_renderable=self._table) if console.is_terminal else None
        )

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *unused: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, run: RunRecord) -> None:
        """Takes note of a changed record."""
        if self._run is None and not self._live:
            self._console.print(f"run {run.run_id}")
        self._run = run
        for node in run.nodes:
            if node.state == "running":
                self._started.setdefault(node.node, time.monotonic())
            if self._live is None and self._printed.get(node.node) != node.state:
                self._printed[node.node] = node.state
                if node.state != "running":
                    self._console.print(
                        f"{_MARKS[node.state]} {node.node:<22} {node.state:<8} {node.seconds:6.1f} s  {node.finding}"
                    )

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, title_justify="left")
        for header, justify in (
            ("", "left"),
            ("component", "left"),
            ("state", "left"),
            ("s", "right"),
            ("found", "left"),
        ):
            table.add_column(header, justify=justify)  # type: ignore[arg-type]
        run = self._run
        if run is None:
            return table
        table.title = f"run {run.run_id}"
        known = {node.node: node for node in run.nodes}
        for name in self._nodes:
            node = known.get(name) or NodeRecord(name, state="waiting")
            seconds = node.seconds
            if node.state == "running":
                seconds = time.monotonic() - self._started.get(name, time.monotonic())
            table.add_row(
                _MARKS[node.state], name, node.state, f"{seconds:.1f}" if node.state != "waiting" else "", node.finding
            )
        return table
