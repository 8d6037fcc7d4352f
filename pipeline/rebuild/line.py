"""The line config of a run that is rebuilt: the run's own, led to the data and the schema as they lie there."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import yaml

from data.exclusion_formats import read_exclusions
from data.whole_file import replace_text
from pipeline.record import RunRecord
from pipeline.snapshot import SCHEMA_FILE
from schema.errors import ConveyorError

NOT_REBUILT = ("serving", "orchestration", "metadata", "beam", "retention")
"""Sections that say where a line runs and how its model is served: no result depends on them."""
_NOT_OF_THE_PUSH = ("push_destination", "vertex_endpoint", "signing")


def rebuilt_config(config: dict[str, Any], examples_input: str) -> dict[str, Any]:
    """Returns a run's config for its rebuild.

    Args:
        config: the config as the run had it, every default filled in.
        examples_input: where its data lies now, relative to the rebuilt line.
    """
    found = {key: copy.deepcopy(value) for key, value in config.items() if key not in NOT_REBUILT}
    found["examples"]["input"] = examples_input
    found["schema"]["file"] = SCHEMA_FILE
    found["pusher"] = {key: value for key, value in found["pusher"].items() if key not in _NOT_OF_THE_PUSH}
    return found


def write_line(folder: Path, record: RunRecord, run_folder: Path, examples_input: str) -> None:
    """Writes `line.yaml` and what it names into a folder.

    Args:
        folder: the folder.
        record: the run's record.
        run_folder: its folder, with the curated schema.
        examples_input: where the data lies now, relative to `folder`.

    Raises:
        ConveyorError: a file that the config names was lost, or has changed since.
    """
    folder.mkdir(parents=True)
    config = rebuilt_config(record.config, examples_input)
    # Not what the config says: `--exclude-rows` may have named another file, and `--from` may have needed none.
    config["examples"]["exclude_rows"] = _excluded(record, folder) if record.exclusions else None
    if (run_folder / SCHEMA_FILE).is_file():
        shutil.copyfile(run_folder / SCHEMA_FILE, folder / SCHEMA_FILE)
    replace_text(folder / "line.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _excluded(record: RunRecord, folder: Path) -> str:
    assert record.exclusions is not None
    path, digest = Path(record.exclusions["path"]), record.exclusions["digest"]
    if not path.is_file():
        raise ConveyorError(
            f"{path} must name the rows that the run left out. Got no such file",
            hint="put it back: its content is kept nowhere else",
        )
    found = read_exclusions(path, tuple(record.config["examples"]["missing_values"])).digest
    if found != digest:
        raise ConveyorError(
            f"{path} must name the rows that the run left out, digest {digest}. Got {found} instead",
            hint="put the file back as it was",
        )
    name = f"exclude_rows{''.join(path.suffixes)}"
    shutil.copyfile(path, folder / name)
    return name
