"""The code of a run that is rebuilt: the recorded commit with the stored difference laid over it, held against the
recorded hash of every source file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from pipeline.identity import git
from pipeline.snapshot import DIFF_FILE, OWN_FOLDER
from pipeline.sources import Sources
from schema.errors import ConveyorError


@dataclasses.dataclass(frozen=True)
class RebuiltCode:
    """Where a run's code is.

    Attributes:
        root: the folder that holds our packages.
        how: where it came from, in words.
        differences: source files that are not as they were, a sentence each.
    """

    root: Path
    how: str
    differences: tuple[str, ...]


def restore_code(provenance: dict[str, Any], run_folder: Path, target: Path, checkout: Path) -> RebuiltCode:
    """Puts the code of a run into a folder.

    Args:
        provenance: the run's provenance.
        run_folder: the run's folder, with the stored difference and `sources.json`.
        target: a folder that is not there yet.
        checkout: where the commit is looked for.

    Raises:
        ConveyorError: there is no such commit, or the difference was lost or cannot be applied.
    """
    commit = provenance.get("git_commit")
    if commit is None:
        raise ConveyorError(
            "the run must have been made from a git checkout, so that its code can be had again. Got no commit",
            hint="--present-code takes the code that is installed, and names each file that is another one",
        )
    archive = git(checkout, "archive", "--format=tar", commit)
    if archive is None:
        raise ConveyorError(
            f"commit {commit} must be in {checkout}. Got none such",
            hint="git fetch it, or run this in a checkout that has it; --present-code takes the code that is there",
        )
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(target, filter="data")
    how = f"commit {commit}"
    wanted = provenance.get("git_diff_sha256")
    if wanted is not None:
        _apply(run_folder / DIFF_FILE, wanted, target)
        how += f" with the stored difference {wanted[:12]}"
    if (run_folder / OWN_FOLDER).is_dir():
        shutil.copytree(run_folder / OWN_FOLDER, target.parent / OWN_FOLDER)
    return RebuiltCode(target, how, source_differences(run_folder, target))


def source_differences(run_folder: Path, root: Path) -> tuple[str, ...]:
    """Returns the source files of a run that are others under `root`, a sentence each."""
    sources = Sources.read(run_folder)
    if sources is None:
        return ("sources.json is not there: the run was made before sources were kept",)
    found = []
    own = run_folder / OWN_FOLDER
    for name, digest in sources.files.items():
        path = root / name
        if Path(name).is_absolute():
            # A line's own function: what was kept of it stands for the file, wherever that was.
            kept = [file for file in own.rglob("*.py") if name.endswith(file.relative_to(own).as_posix())]
            path = kept[0] if kept else Path(name)
        if not path.is_file():
            found.append(f"{name} is gone")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            found.append(f"{name} is another one")
    return tuple(found)


def _apply(diff: Path, wanted: str, target: Path) -> None:
    if not diff.is_file():
        raise ConveyorError(
            f"{diff} must hold what the sources had that the commit has not. Got no such file",
            hint="restore it from a backup; --present-code takes the code that is there",
        )
    found = hashlib.sha256(diff.read_bytes()).hexdigest()
    if found != wanted:
        raise ConveyorError(
            f"{diff} must have the digest {wanted}. Got {found} instead: somebody changed it",
            hint="restore it from a backup; --present-code takes the code that is there",
        )
    # Outside of any repository: git would leave out what lies below the repository's root.
    command = ["git", "apply", "--binary", "--whitespace=nowarn", str(diff.resolve())]
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(target.resolve().parent)}
    done = subprocess.run(command, cwd=target, env=env, capture_output=True, check=False)
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConveyorError(f"{diff} must fit the commit. Got instead: {text[0] if text else 'an error of git apply'}")
