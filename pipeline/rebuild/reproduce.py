"""Rebuilds a run in a new folder, from what was kept of it, and compares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import identities
from pipeline.logs import quiet_to_file
from pipeline.rebuild.comparison import blessing_of, compare_made, compare_metrics, without_verdict
from pipeline.rebuild.data import FoundData, find_data, lay_out
from pipeline.rebuild.detail import first_difference
from pipeline.rebuild.environment import surroundings_differences
from pipeline.rebuild.original import Original, find_original, search_of
from pipeline.rebuild.report import Report
from pipeline.rebuild.served import seed_served
from pipeline.rebuild.step import RebuildOptions, last_taken, make_step
from pipeline.record import RunRecord, run_folder
from pipeline.snapshot import read_surroundings
from pipeline.state import State, write_json
from schema.errors import UsageError
from schema.ingest import ExamplesConfig


def reproduce(original: Original, options: RebuildOptions, tell: Callable[[str], None]) -> Report:
    """Rebuilds a run and compares what it makes with what the run made.

    A run that took components from an earlier one (`--from`) is rebuilt after that one, in the same state, each with
    the code, the packages and the config that it had.

    Args:
        original: the run.
        options: how it is to be rebuilt.
        tell: is told what is being done, a sentence at a time.

    Returns:
        The report, which is also written to `report.json` in the output folder. Where the data is not as it was, there
        is no rebuild, and the report says which spans and files.

    Raises:
        UsageError: the output folder is there already.
        ConveyorError: the code, the environment or something that the run needs cannot be had, or the rebuilt run gave
            no record.
    """
    if options.output.exists() and (not options.output.is_dir() or any(options.output.iterdir())):
        raise UsageError(
            f"--output must be a folder that is not there yet, or empty. Got {options.output} instead",
            hint="name another one",
        )
    record = original.record
    report = Report(record.run_id, original.version, str(options.output), search=search_of(original)[1])
    chain = _with_sources(original)
    tell("looking at the data")
    found = _find_data(chain[0], options)
    report.data = list(found.findings)
    if not found.whole:
        return report
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    lay_out(found, output / "data")
    state = State(output / "state" / record.line, record.line)
    if record.warm_start is not None:
        report.notes.append(seed_served(original, state, record.warm_start))
    for number, (source, taker) in enumerate(zip(chain, chain[1:], strict=False), start=1):
        taken = ", ".join(sorted(taker.record.taken_from))
        report.notes.append(f"{taken}: taken from run {source.record.run_id}, which is rebuilt first")
        step = make_step(source, output / f"taken-{number}", output / "data" / found.input, options, tell)
        tell(f"running the line as run {source.record.run_id} did")
        step.run(last_taken(taker))
    step = make_step(original, output, output / "data" / found.input, options, tell)
    report.code, report.code_differences = step.code.how, list(step.code.differences)
    report.environment = step.environment.how
    tell(f"running the line ({report.search})")
    rebuilt = step.run(record.options.get("until"))
    report.rebuilt_run_id = rebuilt.run_id
    report.surroundings = surroundings_differences(
        read_surroundings(original.folder), read_surroundings(run_folder(state, rebuilt.run_id))
    )
    tell("comparing")
    # TensorFlow, which reads the models, has much to say.
    with quiet_to_file(output / "comparison.txt"):
        _compare(original, rebuilt, report)
    write_json(output / "report.json", report.to_dict())
    return report


def _with_sources(original: Original) -> list[Original]:
    """A run and those that it took components from, the oldest first."""
    chain = [original]
    while chain[0].record.taken_from:
        (source,) = set(chain[0].record.taken_from.values())
        chain.insert(0, find_original(original.state, None, source))
    return chain


def _find_data(original: Original, options: RebuildOptions) -> FoundData:
    record = original.record
    known: dict[str, Any] = {
        key: value for key, value in record.config["examples"].items() if key in ExamplesConfig.model_fields
    }
    return find_data(original.window, ExamplesConfig.model_validate(known), Path(record.base_dir), options.data)


def _compare(original: Original, rebuilt: RunRecord, report: Report) -> None:
    before, after = original.record.verdict or {}, rebuilt.verdict or {}
    report.outcomes = (before.get("outcome"), after.get("outcome"))
    report.model_digests = (before.get("model_digest"), after.get("model_digest"))
    report.metrics = compare_metrics(original.record.slices, rebuilt.slices)
    made = identities.identities(rebuilt.outputs.items())
    known = identities.read(original.folder)
    if known is None:
        report.notes.append("the run kept no identities of what it made: only model digest and metrics are compared")
        return
    if any(row.get("baseline") for row in original.record.slices) and blessing_of(known) != blessing_of(made):
        report.notes.append("the verdict came from the model that was live then, which a rebuild is not held against")
        report.model_digests = (None, None)
        known, made = without_verdict(known), without_verdict(made)
    report.made = compare_made(known, made)
    unequal = [one for one in report.made if not one.equal]
    if unequal:
        report.first = first_difference(unequal[0])
    elif report.metrics:
        report.first = report.metrics[0]
