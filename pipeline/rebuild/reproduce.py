"""Rebuilds a run in a new folder, from what was kept of it, and compares."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data.whole_file import replace_text
from data.window import Window
from pipeline import identities
from pipeline.code_digest import PROJECT_ROOT
from pipeline.logs import quiet_to_file
from pipeline.rebuild.code import RebuiltCode, restore_code, source_differences
from pipeline.rebuild.comparison import Compared, compare_made, compare_metrics
from pipeline.rebuild.data import DataFinding, find_data, lay_out
from pipeline.rebuild.detail import first_difference
from pipeline.rebuild.environment import RebuiltEnvironment, find_environment, surroundings_differences
from pipeline.rebuild.line import write_line
from pipeline.rebuild.original import Original, search_of
from pipeline.rebuild.served import seed_served
from pipeline.record import RunRecord, run_folder
from pipeline.snapshot import OWN_FOLDER, read_surroundings
from pipeline.state import State, write_json
from pipeline.surroundings import variables_that_matter
from schema.errors import ConveyorError, UsageError
from schema.ingest import ExamplesConfig


@dataclasses.dataclass(frozen=True)
class RebuildOptions:
    """How a run is to be rebuilt.

    Attributes:
        output: the folder that the rebuild is made in; must not be there yet.
        data: the folder that the data is in now, in place of the one that the run read.
        present_code: take the code that is installed.
        present_environment: take the packages that are installed.
    """

    output: Path
    data: Path | None = None
    present_code: bool = False
    present_environment: bool = False


@dataclasses.dataclass
class Report:
    """What a rebuild found.

    Attributes:
        run_id: the run that was rebuilt.
        version: the model version that it released, or None.
        folder: where the rebuild is.
        rebuilt_run_id: the run that rebuilt it, or None when it did not come to that.
        data: what is not as it was about the data.
        code: where the code came from.
        code_differences: source files that are not as they were.
        environment: where the environment came from.
        surroundings: in what the rebuild's surroundings differ from the run's.
        search: what was done about the search for hyperparameters.
        notes: what else is to be known.
        made: artifact by artifact.
        metrics: metrics that differ.
        first: the first difference, in words, or an empty string.
        model_digests: of the run and of the rebuild.
        outcomes: the verdict of the run and of the rebuild.
    """

    run_id: str
    version: int | None
    folder: str
    rebuilt_run_id: str | None = None
    data: list[DataFinding] = dataclasses.field(default_factory=list)
    code: str = ""
    code_differences: list[str] = dataclasses.field(default_factory=list)
    environment: str = ""
    surroundings: list[str] = dataclasses.field(default_factory=list)
    search: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    made: list[Compared] = dataclasses.field(default_factory=list)
    metrics: list[str] = dataclasses.field(default_factory=list)
    first: str = ""
    model_digests: tuple[str | None, str | None] = (None, None)
    outcomes: tuple[str | None, str | None] = (None, None)

    @property
    def equal(self) -> bool:
        """Whether the run was rebuilt, and all that it made is equal."""
        return (
            bool(self.made)
            and all(one.equal for one in self.made)
            and not self.metrics
            and self.model_digests[0] == self.model_digests[1]
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-ready data."""
        return {**dataclasses.asdict(self), "equal": self.equal}


def reproduce(original: Original, options: RebuildOptions, tell: Callable[[str], None]) -> Report:
    """Rebuilds a run and compares what it makes with what the run made.

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
    tell("looking at the data")
    examples = ExamplesConfig.model_validate(_known_examples(record))
    found = find_data(original.window, examples, Path(record.base_dir), options.data)
    report.data = list(found.findings)
    if not found.whole:
        return report
    options.output.mkdir(parents=True, exist_ok=True)
    lay_out(found, options.output / "data")
    code = _code(original, options, tell)
    report.code, report.code_differences = code.how, list(code.differences)
    tell("looking for the environment")
    environment = find_environment(record.provenance, code.root, present=options.present_environment)
    report.environment = environment.how
    write_line(options.output / "line", record, original.folder, f"../data/{found.input}")
    state = State(options.output / "state" / record.line, record.line)
    if record.warm_start is not None:
        report.notes.append(seed_served(original, state, record.warm_start))
    if record.taken_from:
        taken = ", ".join(f"{name} from run {run}" for name, run in sorted(record.taken_from.items()))
        report.notes.append(f"the run had taken {taken} as they were; the rebuild makes them anew")
    tell(f"running the line ({report.search})")
    rebuilt = _run(original, options, code, environment)
    report.rebuilt_run_id = rebuilt.run_id
    report.surroundings = surroundings_differences(
        read_surroundings(original.folder), read_surroundings(run_folder(state, rebuilt.run_id))
    )
    tell("comparing")
    # TensorFlow, which reads the models, has much to say.
    with quiet_to_file(options.output / "comparison.txt"):
        _compare(original, rebuilt, report)
    write_json(options.output / "report.json", report.to_dict())
    return report


def _known_examples(record: RunRecord) -> dict[str, Any]:
    known = ExamplesConfig.model_fields
    return {key: value for key, value in record.config["examples"].items() if key in known}


def _code(original: Original, options: RebuildOptions, tell: Callable[[str], None]) -> RebuiltCode:
    if options.present_code:
        differing = source_differences(original.folder, PROJECT_ROOT)
        return RebuiltCode(PROJECT_ROOT, "what is installed, as was asked for", differing)
    tell("putting the code back")
    return restore_code(original.record.provenance, original.folder, options.output / "code", PROJECT_ROOT)


def _run(original: Original, options: RebuildOptions, code: RebuiltCode, environment: RebuiltEnvironment) -> RunRecord:
    output = options.output.resolve()
    window: Window = original.window
    command = [environment.python, "-m", "conveyor", "run", str(output / "line"), "--json"]
    command.append(f"--span={window.spans[-1].label}")
    until = original.record.options.get("until")
    if until is not None:
        command.append(f"--until={until}")
    search, _ = search_of(original)
    if search is not None:
        replace_text(output / "search.json", search.model_dump_json(exclude_none=True))
        command.append(f"--repeat-search={output / 'search.json'}")
    # What the command says on stderr is for the person who waits.
    done = subprocess.run(
        command,
        cwd=output,
        env=_variables(original, output, code),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        return RunRecord.from_dict(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        raise ConveyorError(
            f"the rebuilt run must end with a record. Got exit code {done.returncode} and {done.stdout[:500]!r}",
            hint=f"see above; the folder {output} is as that run left it",
        ) from None


def _variables(original: Original, output: Path, code: RebuiltCode) -> dict[str, str]:
    ours = variables_that_matter(os.environ)
    kept: Mapping[str, str] = read_surroundings(original.folder).get("variables", {})
    env = {name: value for name, value in os.environ.items() if name not in ours and name != "CONVEYOR_TRACEBACK"}
    paths = [str(code.root.resolve()), str(output / OWN_FOLDER)]
    if code.root == PROJECT_ROOT and os.environ.get("PYTHONPATH"):
        paths.append(os.environ["PYTHONPATH"])
    return {**env, **kept, "PYTHONPATH": os.pathsep.join(paths), "CONVEYOR_HOME": str(output / "state")}


def _compare(original: Original, rebuilt: RunRecord, report: Report) -> None:
    before, after = original.record.verdict or {}, rebuilt.verdict or {}
    report.outcomes = (before.get("outcome"), after.get("outcome"))
    report.model_digests = (before.get("model_digest"), after.get("model_digest"))
    report.metrics = compare_metrics(original.record.slices, rebuilt.slices)
    made = identities.identities((node.node, node.outputs) for node in rebuilt.nodes)
    known = identities.read(original.folder)
    if known is None:
        report.notes.append("the run kept no identities of what it made: only model digest and metrics are compared")
        return
    report.made = compare_made(known, made)
    unequal = [one for one in report.made if not one.equal]
    if unequal:
        report.first = first_difference(unequal[0])
    elif report.metrics:
        report.first = report.metrics[0]
