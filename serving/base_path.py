"""The model base path: the folder whose integer sub-folders TensorFlow Serving serves, the highest one by default.

Whatever has a name that is no integer is invisible to the server. So a version is withdrawn by renaming its folder
to `<version>.rolled-back`, and put back by renaming it to `<version>`: one atomic step each, no copy, no restart.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from pathlib import Path

from schema.errors import ReleaseError
from serving.ledger import sync_folder
from serving.ledger_events import LedgerState

WITHDRAWN_SUFFIX = ".rolled-back"
TEMPORARY_PREFIX = ".tmp-"

_NAME = re.compile(r"(\d+)(\.rolled-back)?")
_INT64_MAX = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class VersionFolders:
    """The version folders of a base path.

    Attributes:
        visible: version to folder, for those that TensorFlow Serving sees.
        withdrawn: version to folder, for those that were renamed out of its sight.
    """

    visible: dict[int, Path]
    withdrawn: dict[int, Path]

    @property
    def served(self) -> int | None:
        """The version that TensorFlow Serving serves by default: the highest that it sees."""
        return max(self.visible, default=None)

    def folder(self, version: int) -> Path | None:
        """Returns a version's folder, visible or withdrawn, or None."""
        return self.visible.get(version) or self.withdrawn.get(version)

    def highest(self) -> int:
        """Returns the highest version that has a folder of either kind, or 0."""
        return max([0, *self.visible, *self.withdrawn])


def scan(base_path: Path) -> VersionFolders:
    """Returns the version folders of a base path; there are none when it is not there yet.

    Names are read as TensorFlow Serving reads them: `007` is version 7.
    """
    visible: dict[int, Path] = {}
    withdrawn: dict[int, Path] = {}
    if base_path.is_dir():
        for path in sorted(base_path.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match and int(match[1]) <= _INT64_MAX:
                (withdrawn if match[2] else visible)[int(match[1])] = path
    return VersionFolders(visible, withdrawn)


def next_version(state: LedgerState, folders: VersionFolders) -> int:
    """Returns the version after the highest ever used, in the ledger or as a folder; the first is 1."""
    return max([folders.highest(), *state.entries]) + 1


def unrecorded(state: LedgerState, folders: VersionFolders) -> list[int]:
    """Returns the versions that have a folder, visible or withdrawn, and no entry in the ledger; lowest first."""
    return sorted((folders.visible.keys() | folders.withdrawn.keys()) - state.entries.keys())


def reconcile(base_path: Path, state: LedgerState) -> list[str]:
    """Makes the folders what the ledger says; finishes what a killed rollback or pruning left half done.

    Folders that the ledger does not know are left alone, except those that the last rollback was to withdraw.
    Versions are put back before others are withdrawn, and withdrawn from the lowest up: at no time does the server
    see an empty base path or a version that is neither the old nor the new one.

    Args:
        base_path: the model base path.
        state: what the ledger says.

    Returns:
        What was done, in words; empty when all was well.

    Raises:
        ReleaseError: a version is there twice, visible and withdrawn.
        OSError: a folder could not be renamed or removed.
    """
    folders = scan(base_path)
    twice = sorted(folders.visible.keys() & folders.withdrawn.keys())
    if twice:
        name = str(folders.visible[twice[0]])
        raise ReleaseError(
            f"{name}: version {twice[0]} is there twice, the other one withdrawn as {name}{WITHDRAWN_SUFFIX}",
            hint="remove the one that is not the released model (its digest is in `conveyor releases`)",
        )
    done = []
    for version in sorted(folders.withdrawn):
        entry = state.entries.get(version)
        if entry and not entry.withdrawn and not entry.pruned:
            os.rename(folders.withdrawn[version], base_path / str(version))
            done.append(f"put version {version} back")
    for version in sorted(folders.visible):
        if _is_withdrawn(version, state):
            os.rename(folders.visible[version], base_path / f"{version}{WITHDRAWN_SUFFIX}")
            done.append(f"withdrew version {version}")
    for version, entry in state.entries.items():
        folder = folders.folder(version)
        if entry.pruned and folder is not None:
            remove(base_path, folder)
            done.append(f"removed version {version}")
    if done:
        sync_folder(base_path)
    return done


def _is_withdrawn(version: int, state: LedgerState) -> bool:
    entry = state.entries.get(version)
    if entry is not None:
        return entry.withdrawn and not entry.pruned
    live = state.live_entry
    if live is None or live.last.event != "rollback" or live.last.from_version is None:
        return False
    return live.pushed.version is not None and live.pushed.version < version <= live.last.from_version


def remove(base_path: Path, folder: Path) -> None:
    """Removes a version folder: out of the server's sight at once, then file by file."""
    grave = base_path / f"{TEMPORARY_PREFIX}{folder.name}"
    if grave.exists():
        shutil.rmtree(grave)
    os.rename(folder, grave)
    shutil.rmtree(grave)


def remove_temporaries(base_path: Path) -> None:
    """Removes what killed pushes left under temporary names. The caller holds the base path's push lock."""
    for path in base_path.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(path)
