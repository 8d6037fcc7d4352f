"""What a run sets out with: its inputs, and what it owes to an earlier run by `--resume` or `--from`."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

from pipeline.excluded import INGEST, recorded
from pipeline.inputs import RunInputs, resolve_inputs
from pipeline.options import RunOptions
from pipeline.record import RunRecord
from pipeline.resume import check_unchanged, recorded_window, run_to_resume
from pipeline.runner import Partial
from pipeline.state import State
from pipeline.taken import run_to_take_from
from schema.loading import LoadedLine


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run sets out with.

    Attributes:
        options: the options in force; those of the run that is resumed count too.
        inputs: what the graph needs to know of the world.
        forced: components that do their work anew although it is cached.
        resumes: the run that is gone on with, or None.
        source: the run whose artifacts are taken, or None.
    """

    options: RunOptions
    inputs: RunInputs
    forced: tuple[str, ...]
    resumes: RunRecord | None = None
    source: RunRecord | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether the run may be answered as a whole by an earlier one with the same inputs."""
        options = self.options
        special = options.until or options.as_compiled or options.from_component or self.forced
        return not special and self.resumes is None

    @property
    def partial(self) -> Partial:
        """What of the DAG is done otherwise than by default."""
        source = self.source.run_id if self.source else None
        return Partial(self.options.until, self.forced, self.options.taken, source)

    def write_to(self, run: RunRecord) -> None:
        """Writes into a new run's record what it was asked for and what it owes to earlier runs."""
        run.options = self.options.to_dict()
        run.experiment = self.options.experiment or (self.resumes.experiment if self.resumes else None)
        run.schema_digest = self.inputs.schema_digest
        run.warm_start_folder = self.inputs.warm_start[0] if self.inputs.warm_start else None
        run.exclusions = recorded(self.inputs.exclusions)
        run.forced = list(self.forced)
        run.resumes = self.resumes.run_id if self.resumes else None
        if self.source is None:
            return
        run.taken_from = dict.fromkeys(self.options.taken, self.source.run_id)
        if INGEST in run.taken_from:
            run.exclusions = self.source.exclusions
        for node in self.source.nodes:
            if node.node in run.taken_from:
                run.nodes.append(dataclasses.replace(copy.deepcopy(node), state="taken", seconds=0.0))


def make_plan(loaded: LoadedLine, state: State, options: RunOptions) -> Plan:
    """Finds the inputs of a run, and the earlier run that it goes on with or takes from.

    Args:
        loaded: the line config.
        state: the line's state, held by the caller.
        options: how the run is to be done; they have been checked.

    Raises:
        UsageError: there is no such earlier run, or what it found has changed.
        SpanError: the window is empty or has a gap.
        ConfigError: the config does not fit.
        ReleaseError: the release ledger is damaged.
    """
    if options.resume is not None:
        return _resumed(loaded, state, options, run_to_resume(state, options.resume))
    source = run_to_take_from(state, options.taken, str(options.from_component)) if options.taken else None
    window = recorded_window(source) if source else None
    inputs = resolve_inputs(loaded, state, span=options.span, window=window, exclude_rows=options.exclude_rows)
    return Plan(options, inputs, options.forced, source=source)


def _resumed(loaded: LoadedLine, state: State, options: RunOptions, run: RunRecord) -> Plan:
    asked = run.options
    repeated = asked.get("repeat_search")
    options = dataclasses.replace(
        options,
        span=asked["span"],
        until=options.until or asked["until"],
        from_component=asked["from"],
        repeat_search=options.repeat_search or (Path(repeated) if repeated else None),
    )
    options.check_combination()
    source = None
    if options.taken:
        source = run_to_take_from(state, options.taken, str(options.from_component), run.taken_from)
    # Examples that are taken are not made again, so that nobody asks for the file.
    excluded = Path(run.exclusions["path"]) if run.exclusions and source is None else None
    inputs = resolve_inputs(
        loaded,
        state,
        span=options.span,
        window=recorded_window(run),
        exclude_rows=options.exclude_rows or excluded,
    )
    check_unchanged(loaded, state, run, inputs, looks_at_data=source is None)
    ended = {node.node for node in run.nodes if node.state in ("done", "cached")}
    forced = dict.fromkeys([*options.force, *(name for name in run.forced if name not in ended)])
    warm_start = (run.warm_start_folder, run.warm_start) if run.warm_start_folder and run.warm_start else None
    inputs = dataclasses.replace(inputs, warm_start=warm_start)
    return Plan(options, inputs, tuple(forced), resumes=run, source=source)
