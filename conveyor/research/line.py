"""`conveyor.Line`: a line for notebooks and scripts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conveyor.research.outputs import Outputs
from pipeline.state import HOME_VARIABLE, State
from schema.errors import UsageError
from schema.loading import LoadedLine, find_line, load_line, nested

if TYPE_CHECKING:
    import pandas as pd

    from schema.line import Line as LineConfig


UNNAMED = "unnamed"
"""What the runs of an experiment without a name are shown as: they are to be told from the line's own."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What differs between two runs, and what that did to the metrics.

    Attributes:
        config: dotted key to both values.
        data: `added`, `removed` and `changed` spans, by label.
        code: dotted key to both values: commit, versions, source files.
        metrics: a row for each slice and metric: `first`, `second` and `change`.
    """

    config: dict[str, list[Any]]
    data: dict[str, list[str]]
    code: dict[str, list[Any]]
    metrics: pd.DataFrame


class Line:
    """A line: its config, its runs, and experiments with it.

    Example:
        >>> line = Line("taxi")
        >>> trial = line.experiment({"trainer.learning_rate": 0.01}, sample=0.2)
        >>> trial.run("Transform").transformed().head()
        >>> trial.run("Evaluator").metrics()
        >>> trial.promote()

    Args:
        line: the name of a line that comes with the project, a folder with a line.yaml, or a YAML file.
        environment: the overlay `line.ENVIRONMENT.yaml` to lay over it.
        home: the folder of states; by default `$CONVEYOR_HOME`, or `.conveyor` in the current folder.

    Raises:
        ConfigError: there is no such line, or its config is not valid.
    """

    def __init__(self, line: str | Path, *, environment: str | None = None, home: str | Path | None = None) -> None:
        self._path = find_line(str(line), Path.cwd())
        self._environment = environment
        loaded = self._load({}, resolve_secrets=False)
        env = {**os.environ, **({HOME_VARIABLE: str(Path(home).absolute())} if home else {})}
        self._config = loaded.line
        self.state = State.locate(loaded.line.name, env, Path.cwd())

    def __repr__(self) -> str:
        return f"Line({self.name!r}, {str(self._path)!r})"

    @property
    def name(self) -> str:
        """The line's name."""
        return self._config.name

    @property
    def config(self) -> LineConfig:
        """The config, every default filled in."""
        return self._config

    def experiment(
        self,
        changes: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        span: str = "all",
        window: int | None = None,
        sample: float | None = None,
    ) -> Experiment:
        """Returns an experiment: the line with some keys changed. Nothing runs yet.

        Args:
            changes: dotted key to value, such as `{"trainer.learning_rate": 0.01}`; a mapping is merged, anything else
                replaces what is there.
            name: what to call it; it is shown with its runs.
            span: `all`, `latest`, or the newest span of the window by number or label.
            window: the number of spans (`examples.window`).
            sample: the share of the rows (`examples.sample`).

        Raises:
            ConfigError: the changed config is not valid.
            UsageError: another line's name is among the changes.
        """
        wanted: dict[str, Any] = dict(changes or {})
        for key, value in (("examples.window", window), ("examples.sample", sample)):
            if value is not None:
                wanted[key] = value
        loaded = self._load(wanted, resolve_secrets=False)
        if loaded.line.name != self.name:
            # Its runs, its metadata and what it releases are those of this line.
            raise UsageError(f"changes must leave the name {self.name!r} as it is. Got {loaded.line.name!r} instead")
        return Experiment(self, wanted, loaded, name=name, span=span)

    def runs(self) -> pd.DataFrame:
        """Returns the runs, experiments among them, the newest last: a row a run, with the metrics of all examples."""
        import pandas as pd

        from pipeline.record import load_all

        rows = []
        for run in load_all(self.state):
            verdict = run.verdict or {}
            overall: dict[str, Any] = next((row["metrics"] for row in run.slices if row["slice"] == "Overall"), {})
            rows.append(
                {
                    "run_id": run.run_id,
                    "experiment": run.experiment,
                    "started": pd.Timestamp(run.started),
                    "seconds": run.seconds,
                    "outcome": verdict.get("outcome"),
                    "version": verdict.get("version"),
                    "config_digest": run.config_digest,
                    **overall,
                }
            )
        frame = pd.DataFrame(rows, columns=None if rows else ["run_id"])
        return frame.set_index("run_id")

    def results(self, run: str = "latest") -> Outputs:
        """Returns what a run made.

        Args:
            run: a run id, its beginning, or `latest`.

        Raises:
            UsageError: there is no such run.
        """
        from pipeline.record import find

        return Outputs(self.state, find([self.state], run)[0])

    def compare(self, first: str | Outputs, second: str | Outputs = "latest") -> Comparison:
        """Returns what differs between two runs, and what that did to the metrics, slice by slice.

        Args:
            first: a run id, its beginning, or an experiment that has run.
            second: likewise; by default the latest run.
        """
        import pandas as pd

        from pipeline.comparison import compare_runs
        from pipeline.record import run_folder

        one, two = (run.record if isinstance(run, Outputs) else self.results(run).record for run in (first, second))
        found = compare_runs(one, two, *(run_folder(self.state, run.run_id) for run in (one, two)))
        columns = ["slice", "metric", "first", "second", "change"]
        metrics = pd.DataFrame(found["metrics"], columns=columns).set_index(["slice", "metric"])
        return Comparison(found["config"], found["data"], found["code"], metrics)

    def overlay(self, changes: Mapping[str, Any], environment: str) -> Path:
        """Writes changes as `line.ENVIRONMENT.yaml` beside the line.yaml, over this line's own environment, if any.

        Raises:
            UsageError: there is such an overlay already.
        """
        import yaml

        from data.whole_file import replace_text
        from schema.loading import merge, overlay_path
        from schema.yaml_text import located, read_yaml

        path = self._path.with_name(f"{self._path.stem}.{environment}{self._path.suffix}")
        if path.exists():
            raise UsageError(
                f"{path} must not be there yet. Got another overlay of that name", hint="take another name"
            )
        tree = located(nested(changes), "changes")
        if self._environment is not None:
            tree = merge(read_yaml(overlay_path(self._path, self._environment)), tree)
        replace_text(path, yaml.safe_dump(tree.plain(), sort_keys=False, allow_unicode=True))
        return path

    def _load(self, changes: Mapping[str, Any], *, resolve_secrets: bool | Collection[str]) -> LoadedLine:
        return load_line(self._path, environment=self._environment, changes=changes, resolve_secrets=resolve_secrets)


class Experiment(Outputs):
    """A line with some keys changed, run as far as it is asked to; its outputs are those of its last run.

    Runs are in the same metadata store as the line's own, and take from the same cache: what an experiment has in
    common with an earlier run is not done again. Nothing is pushed.

    Args:
        line: the line.
        changes: the changed keys.
        loaded: the changed config.
        name: what it is called.
        span: the newest span of its window.
    """

    def __init__(
        self, line: Line, changes: Mapping[str, Any], loaded: LoadedLine, *, name: str | None, span: str
    ) -> None:
        super().__init__(line.state, None)
        self._line = line
        self._span = span
        self.changes = dict(changes)
        self.name = name
        self.config = loaded.line

    def run(self, until: str = "Evaluator", *, wait_seconds: float = 0.0, show: bool = True) -> Experiment:
        """Runs the components up to one, and returns the experiment.

        Args:
            until: the last component wanted; not the Pusher, which `promote` is for.
            wait_seconds: how long to wait for another run of the line.
            show: whether to print progress.

        Raises:
            UsageError: there is no such component, or it is the Pusher.
            ConveyorError: a component failed, with its own message; data that is rejected is one, too.
            LineBusy: another run holds the line.
        """
        if until == "Pusher":
            raise UsageError("until must be a component before the Pusher. Got 'Pusher'", hint="experiment.promote()")
        self._go(until, wait_seconds, show)
        return self

    def promote(self, *, wait_seconds: float = 0.0, show: bool = True) -> Outputs:
        """Runs the same config as a pipeline, Pusher included: the same model, if it is blessed, goes live.

        Write the changes into the line's config, or `save` them, so that the next run of the line has them too.

        Returns:
            What the run made; its `record.verdict` says what became of the model.

        Raises:
            ConveyorError: a component failed, with its own message.
            LineBusy: another run holds the line.
        """
        self._go(None, wait_seconds, show)
        return Outputs(self._state, self.record)

    def save(self, environment: str) -> Path:
        """Writes the changes as an overlay `line.ENVIRONMENT.yaml`, for `conveyor run LINE --env ENVIRONMENT`.

        Raises:
            UsageError: there is such an overlay already.
        """
        return self._line.overlay(self.changes, environment)

    def _go(self, until: str | None, wait_seconds: float, show: bool) -> None:
        from contextlib import nullcontext

        from conveyor.output import console
        from conveyor.progress import Progress
        from pipeline.run import NODES, RunOptions, run_line
        from pipeline.verdict import Verdict
        from schema.errors import ConveyorError

        # Who only tries something need not have the key that signs releases.
        loaded = self._line._load(self.changes, resolve_secrets=True if until is None else ("metadata",))
        options = RunOptions(span=self._span, until=until, wait_seconds=wait_seconds, experiment=self.name or UNNAMED)
        with Progress(console(), NODES) if show else nullcontext(lambda run: None) as progress:
            self._record = run_line(loaded, self._state, options, progress)
        verdict = Verdict.from_dict(self._record.verdict or {})
        if verdict.outcome in ("failed", "data rejected"):
            # The reason carries its own hint.
            error = ConveyorError(verdict.reasons[0].text if verdict.reasons else verdict.outcome)
            error.exit_code = verdict.exit_code
            raise error
