"""The run that `--from` takes artifacts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.record import NodeRecord, RunRecord, load_all, run_folder
from pipeline.state import State
from schema.errors import UsageError

_ENDED_WELL = ("done", "cached", "taken")


def run_to_take_from(
    state: State, components: Sequence[str], wanted: str, settled: Mapping[str, str] | None = None
) -> RunRecord:
    """Returns the newest run in which all of `components` ended well and whose artifacts of them are all there.

    One run for all of them: artifacts of several runs need not fit each other. An experiment is none: what it tried,
    on a sample perhaps, is not to be released by a run of the line.

    Args:
        state: the line's state.
        components: what is to be taken, in the order of the DAG; at least one.
        wanted: the component that comes after them.
        settled: component to run, where an earlier run has chosen: only that one will do.

    Raises:
        UsageError: there is no such run.
    """
    runs = {run.run_id: run for run in load_all(state)}
    chosen = set((settled or {}).values())
    last_problem = ""
    for run in reversed(runs.values()):
        if run.is_trial or (chosen and run.run_id not in chosen):
            continue
        source = runs.get(run.repeats or run.run_id)
        if source is None or not is_in_ml_metadata(state, source):
            continue
        problem = _lacking(source, components)
        if problem is None:
            return source
        last_problem = last_problem or f"; the newest run, {source.run_id}, {problem}"
    raise UsageError(
        f"--from {wanted} must find a run in which {', '.join(components)} ended well. Got none instead{last_problem}",
        hint="run the line without --from, or --from a component that comes before",
    )


def is_in_ml_metadata(state: State, run: RunRecord) -> bool:
    """Whether a run's components were carried out by the local runner, so that ML Metadata knows of them."""
    folder = run_folder(state, run.run_id)
    return (folder / "events.jsonl").is_file() and not (folder / "pipeline_job.json").is_file()


def _lacking(run: RunRecord, components: Sequence[str]) -> str | None:
    nodes: dict[str, NodeRecord] = {node.node: node for node in run.nodes}
    for component in components:
        node = nodes.get(component)
        if node is None or node.state not in _ENDED_WELL:
            return f"did not get through {component}"
        for artifacts in node.outputs.values():
            gone = next((artifact["uri"] for artifact in artifacts if not Path(artifact["uri"]).exists()), None)
            if gone:
                return f"has lost what {component} made, {gone}"
    return None
