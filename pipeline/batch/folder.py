"""The output folder of a batch: what it holds, whose it is, and what is still to be done.

While a batch is under way, `.batch/` has its plan and a record for each part that is whole. When all are, the records
become `manifest.json`, and `.batch/` goes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from components.bulk_inferrer.part import is_whole, record_path
from data.whole_file import remove_leftovers, replace_text
from schema.errors import LineBusy, UsageError

MANIFEST = "manifest.json"
WORK = ".batch"
LOCK = ".batch.lock"
_SHOWN = 60


class OutputFolder:
    """The output folder.

    Args:
        path: the folder, there already or not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.work = self.path / WORK
        self.log = self.work / "log.txt"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder, which is made when it is not there; a process that is killed holds it no more.

        Raises:
            LineBusy: another process holds it.
            UsageError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / LOCK)
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise LineBusy(
                f"{self.path} is held by another batch", hint="wait for it to end, or name another --output"
            ) from None
        except OSError as error:
            raise UsageError(
                f"--output must be a folder that can be written. Got {self.path} instead: {error.strerror}"
            ) from None
        try:
            remove_leftovers(self.path)
            remove_leftovers(self.work)
            yield
        finally:
            lock.release()

    def manifest(self) -> dict[str, Any] | None:
        """Returns the manifest of a batch that was finished here, or None."""
        return self._read(self.path / MANIFEST)

    def plan(self) -> dict[str, Any] | None:
        """Returns the plan of a batch that was begun here, or None."""
        return self._read(self.work / "plan.json")

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Writes the plan of a batch.

        Raises:
            UsageError: there are predictions that nothing tells the origin of.
        """
        strange = sorted(path.name for path in self.path.glob("predictions-*"))
        if strange and self.manifest() is None and self.plan() is None:
            raise UsageError(
                f"{self.path} must hold no predictions of unknown origin. Got {strange[0]} and no {MANIFEST} instead",
                hint="name another --output, or remove them",
            )
        self.work.mkdir(exist_ok=True)
        replace_text(self.work / "plan.json", json.dumps(plan, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def record(self, part: int) -> dict[str, Any] | None:
        """Returns the record of a part of which every file is there as it was written, or None."""
        found = self._read(record_path(self.work, part))
        return found if found is not None and is_whole(self.path, found) else None

    def keep(self, record: Mapping[str, Any]) -> None:
        """Takes a part's record over from a manifest."""
        replace_text(record_path(self.work, record["part"]), json.dumps(record, sort_keys=True))

    def drop(self, parts: Iterable[int]) -> None:
        """Forgets the records of parts, so that they are made again."""
        for part in parts:
            record_path(self.work, part).unlink(missing_ok=True)

    def made(self) -> list[dict[str, Any]]:
        """Returns the records that there are, without a look at their files."""
        found = [self._read(path) for path in sorted(self.work.glob("part-*.json"))]
        return [record for record in found if record is not None]

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Writes the manifest and removes what was needed until now."""
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        replace_text(self.path / MANIFEST, text)
        shutil.rmtree(self.work, ignore_errors=True)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} must be what a batch wrote there. Got something else instead: {error}",
                hint="name another --output, or remove this folder",
            ) from None
        if not isinstance(found, dict):
            raise UsageError(f"{path} must be what a batch wrote there. Got a JSON {type(found).__name__} instead")
        return found


def check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Checks that what was begun in a folder is what is asked for now.

    Args:
        folder: the folder.
        before: the identity of the batch there.
        now: the identity of the one that is asked for.

    Raises:
        UsageError: they differ; the message says in what.
    """
    differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if not differing:
        return
    told = "; ".join(
        f"{name} is {_shown(before.get(name))} there and {_shown(now.get(name))} now" for name in differing
    )
    raise UsageError(
        f"{folder} must hold the same batch. Got another one instead: {told}",
        hint="name another folder with --output; with the same model, input and options, a batch goes on where it was",
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
