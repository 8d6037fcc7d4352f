"""One run of a rebuild: its code, its packages and its line in a folder, and run there as a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from data.whole_file import replace_text
from pipeline.ancestry import ancestors
from pipeline.code_digest import PROJECT_ROOT
from pipeline.rebuild.code import RebuiltCode, restore_code, source_differences
from pipeline.rebuild.environment import RebuiltEnvironment, find_environment
from pipeline.rebuild.line import write_line
from pipeline.rebuild.original import Original, search_of
from pipeline.record import RunRecord
from pipeline.snapshot import OWN_FOLDER, read_surroundings
from pipeline.surroundings import variables_that_matter
from schema.errors import ConveyorError
from schema.orchestration import NODES


@dataclasses.dataclass(frozen=True)
class RebuildOptions:
    """How a run is to be rebuilt.

    Attributes:
        output: the folder that the rebuild is made in; must not be there yet, or empty.
        data: the folder that the data is in now, in place of the one that the run read.
        present_code: take the code that is installed.
        present_environment: take the packages that are installed.
    """

    output: Path
    data: Path | None = None
    present_code: bool = False
    present_environment: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """A run that is ready to be made again.

    Attributes:
        original: the run.
        folder: where its code and its line are.
        state: the folder of states.
        code: its code.
        environment: what it runs with.
    """

    original: Original
    folder: Path
    state: Path
    code: RebuiltCode
    environment: RebuiltEnvironment

    def run(self, until: str | None) -> RunRecord:
        """Runs the line as the original did, and returns the record.

        Args:
            until: the last component wanted, or None for all.

        Raises:
            ConveyorError: the run gave no record.
        """
        command = [self.environment.python, "-m", "conveyor", "run", str(self.folder / "line"), "--json"]
        if self.original.record.taken_from:
            command.append(f"--from={self.original.record.options['from']}")
        else:
            command.append(f"--span={self.original.window.spans[-1].label}")
        if until is not None:
            command.append(f"--until={until}")
        search, _ = search_of(self.original)
        if search is not None and "Tuner" not in self.original.record.taken_from:
            replace_text(self.folder / "search.json", search.model_dump_json(exclude_none=True))
            command.append(f"--repeat-search={self.folder / 'search.json'}")
        # What the command says on stderr is for the person who waits.
        done = subprocess.run(
            command, cwd=self.folder, env=self._variables(), stdout=subprocess.PIPE, text=True, check=False
        )
        try:
            return RunRecord.from_dict(json.loads(done.stdout))
        except (ValueError, KeyError, TypeError):
            raise ConveyorError(
                f"the rebuilt run must end with a record. Got exit code {done.returncode} and {done.stdout[:500]!r}",
                hint=f"see above; the folder {self.folder} is as that run left it",
            ) from None

    def _variables(self) -> dict[str, str]:
        ours = variables_that_matter(os.environ)
        kept: Mapping[str, str] = read_surroundings(self.original.folder).get("variables", {})
        env = {name: value for name, value in os.environ.items() if name not in ours and name != "CONVEYOR_TRACEBACK"}
        paths = [str(self.code.root.resolve()), str(self.folder / OWN_FOLDER)]
        if self.code.root == PROJECT_ROOT and os.environ.get("PYTHONPATH"):
            paths.append(os.environ["PYTHONPATH"])
        return {**env, **kept, "PYTHONPATH": os.pathsep.join(paths), "CONVEYOR_HOME": str(self.state)}


def make_step(
    original: Original, folder: Path, examples_input: Path, options: RebuildOptions, tell: Callable[[str], None]
) -> Step:
    """Puts a run's code and line into a folder, and finds its environment.

    Args:
        original: the run.
        folder: absolute.
        examples_input: where its data lies, absolute.
        options: how it is to be rebuilt.
        tell: is told what is being done.

    Raises:
        ConveyorError: the code, the environment or something that the config names cannot be had.
    """
    if options.present_code:
        differing = source_differences(original.folder, PROJECT_ROOT)
        code = RebuiltCode(PROJECT_ROOT, "what is installed, as was asked for", differing)
    else:
        tell("putting the code back")
        code = restore_code(original.record.provenance, original.folder, folder / "code", PROJECT_ROOT)
    tell("looking for the environment")
    environment = find_environment(original.record.provenance, code.root, present=options.present_environment)
    given = os.path.relpath(examples_input, folder / "line")
    write_line(folder / "line", original.record, original.folder, given)
    return Step(original, folder, options.output.resolve() / "state", code, environment)


def last_taken(original: Original) -> str | None:
    """Returns the component that a run has to come to for all that another took from it; None for its end."""
    taken = sorted(original.record.taken_from, key=NODES.index)
    return taken[-1] if taken and set(taken[:-1]) <= ancestors(taken[-1]) else None
