"""What a run keeps so that it can be rebuilt: the curated schema, the code's difference from its commit, a line's own
functions, and what it ran in. The config, the window and the versions are in the record itself.

    runs/RUN/schema.pbtxt       the curated schema, when there was one
    runs/RUN/code.diff          what the sources had that the commit has not, for `git apply`
    runs/RUN/own/a/b.py         a module with functions that the line config names
    runs/RUN/surroundings.json  packages, processor, variables
    runs/RUN/search.json        the search for hyperparameters that the model came from
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import util
from pathlib import Path
from typing import Any

from data.whole_file import replace_bytes, replace_text
from pipeline.code_digest import OUR_PACKAGES, PROJECT_ROOT
from pipeline.surroundings import surroundings
from schema.line import Line

SCHEMA_FILE = "schema.pbtxt"
DIFF_FILE = "code.diff"
OWN_FOLDER = "own"
SURROUNDINGS_FILE = "surroundings.json"
SEARCH_FILE = "search.json"


def own_functions(line: Line) -> list[str]:
    """Returns the dotted paths of functions that a line config names."""
    named = (line.transform.preprocessing_fn, line.trainer.model.builder)
    return [name for name in named if name]


def keep(folder: Path, line: Line, schema_file: Path, diff: bytes | None) -> None:
    """Writes what a rebuild needs into a run's folder.

    Args:
        folder: the run's folder.
        line: the line config.
        schema_file: the curated schema; it need not be there.
        diff: the difference of the sources from their commit; None or empty when there is none.
    """
    if schema_file.is_file():
        replace_bytes(folder / SCHEMA_FILE, schema_file.read_bytes())
    if diff:
        replace_bytes(folder / DIFF_FILE, diff)
    for module, file in own_modules(own_functions(line)).items():
        replace_bytes(folder / OWN_FOLDER / Path(*module.split(".")).with_suffix(".py"), file.read_bytes())
    text = json.dumps(surroundings(), indent=1, sort_keys=True, ensure_ascii=False)
    replace_text(folder / SURROUNDINGS_FILE, text + "\n")


def keep_search(folder: Path, tuner: Mapping[str, list[dict[str, Any]]]) -> None:
    """Writes the search for hyperparameters into a run's folder.

    Args:
        folder: the run's folder.
        tuner: the Tuner's outputs, as `describe_artifact` gives them; none where the run did not come that far.
    """
    if not tuner.get("tuner_results"):
        return
    results = Path(tuner["tuner_results"][0]["uri"])
    search = _read(results / "search.json")
    search["hyperparameters"] = _read(Path(tuner["best_hyperparameters"][0]["uri"]) / "best_hyperparameters.txt")
    own = ("trial_id", "score")
    search["trials"] = [
        {**{key: row[key] for key in own}, "values": {key: row[key] for key in row if key not in own}}
        for row in _read(results / "tuner_results.json")
    ]
    replace_text(folder / SEARCH_FILE, json.dumps(search, indent=1, sort_keys=True) + "\n")


def read_search(folder: Path) -> dict[str, Any] | None:
    """Returns the search that a run's model came from, or None where it was not kept."""
    file = folder / SEARCH_FILE
    return _read(file) if file.is_file() else None


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def own_modules(functions: Iterable[str]) -> dict[str, Path]:
    """Returns module to file for functions that neither our packages nor an installed package hold."""
    found = {}
    for dotted in functions:
        module = dotted.rpartition(".")[0]
        spec = util.find_spec(module) if module and module.split(".")[0] not in OUR_PACKAGES else None
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue
        file = Path(spec.origin)
        if "site-packages" not in file.parts and PROJECT_ROOT not in file.parents:
            found[module] = file
    return found


def read_surroundings(folder: Path) -> dict[str, Any]:
    """Returns what a run ran in, or nothing where it was not kept."""
    file = folder / SURROUNDINGS_FILE
    return _read(file) if file.is_file() else {}
