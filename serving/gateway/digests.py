"""Whether the model versions on disk are those that were released, found out ahead of their being served.

A digest takes seconds, most of them to start TensorFlow. So those of all versions that a canary or a rollback could put
into service are computed beforehand, in a process that ends when it is done.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from schema.errors import ConveyorError, ReleaseError
from serving.base_path import scan
from serving.ledger import Ledger
from serving.ledger_events import LedgerState
from serving.ledger_following import file_identity

LOOK_SECONDS = 0.25
"""How long until a new version, or a new line of the ledger, is seen."""

AGAIN_SECONDS = 10.0
"""How long until folders are looked at again without either: a file in one may be mended."""

Identity = tuple[tuple[str, int, int, int, int], ...]
Compute = Callable[[Sequence[Path]], list[tuple[Any, str]]]
"""Gives for each folder its digest (or what else it is judged by) and, where there is none, why."""
Judge = Callable[[Path, int, LedgerState, Any], str]
"""Gives, for a version's folder and what was computed of it, why it must not be served, or an empty text."""

_log = logging.getLogger(__name__)


class Digests:
    """Compares the digests of a line's versions with the release ledger's, in a thread of its own.

    Args:
        base_path: the model base path.
        ledger: the release ledger.
        compute: computes digests.
        judge: compares them with what the ledger says.
    """

    def __init__(
        self, base_path: Path, ledger: Ledger, compute: Compute | None = None, judge: Judge | None = None
    ) -> None:
        self._base_path = base_path
        self._ledger = ledger
        self._compute = compute or in_process_of_its_own
        self._judge = judge or _difference
        # By what is in a folder and not by its name: a rollback renames it.
        self._known: dict[Identity, tuple[Any, str]] = {}
        self._verdicts: dict[int, tuple[Path, Identity, str]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="digests", daemon=True)

    def start(self) -> None:
        """Starts to look, unless that was done before."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a digest that is being computed is given up."""
        self._stopping.set()

    def objection(self, version: int) -> str | None:
        """Returns why a version must not be served, an empty text when it may, or None while that is not known.

        It is not known either when something in the folder has been changed since.
        """
        folder, identity, verdict = self._verdicts.get(version, (None, None, None))
        return verdict if folder is not None and _identity(folder) == identity else None

    def look(self) -> bool:
        """Computes the digests that are most urgent, if any is missing. Returns whether there may be more.

        Raises:
            ReleaseError: the ledger is damaged.
        """
        state = self._ledger.state()
        folders = scan(self._base_path)
        wanted = _wanted(state)
        released = {
            version: folder
            for version, entry in state.entries.items()
            if not entry.pruned and (folder := folders.folder(version)) is not None
        }
        identities = {version: _identity(folder) for version, folder in released.items()}
        missing = [version for version, identity in identities.items() if identity not in self._known]
        first = [version for version in missing if version in wanted]
        now = first or sorted(missing, reverse=True)
        if now:
            found = self._compute([released[version] for version in now])
            for version, digest in zip(now, found, strict=True):
                # One that was renamed or replaced meanwhile is looked at again.
                if _identity(released[version]) == identities[version]:
                    self._known[identities[version]] = digest
        self._verdicts = {
            version: (released[version], identity, self._objection(released[version], version, state, identity))
            for version, identity in identities.items()
            if identity in self._known
        }
        return bool(first) and len(missing) > len(first)

    def _objection(self, folder: Path, version: int, state: LedgerState, identity: Identity) -> str:
        found, error = self._known[identity]
        return f"{folder}: {error}" if error else self._judge(folder, version, state, found)

    def _work(self) -> None:
        seen: object = None
        again_at = 0.0
        while True:
            found = self._what_is_there()
            if found != seen or time.monotonic() >= again_at:
                try:
                    more = self.look()
                    seen = None if more else found
                except ConveyorError as error:
                    seen = found
                    _log.error("Model digests are not compared: %s", error)
                except Exception:
                    seen = found
                    _log.exception("Model digests are not compared")
                again_at = time.monotonic() + AGAIN_SECONDS
            if self._stopping.wait(LOOK_SECONDS):
                return

    def _what_is_there(self) -> object:
        return file_identity(self._ledger.path), file_identity(self._base_path)


def in_process_of_its_own(folders: Sequence[Path]) -> list[tuple[str, str]]:
    """Computes digests; see `Compute`.

    Raises:
        ReleaseError: that cannot be done here.
    """
    import serving

    root = str(Path(serving.__path__[0]).parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "serving.gateway.digest_worker", *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(lines) != len(folders):
        words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ReleaseError(
            f"the model digest of {folders[len(lines)]} must be computed before it is served. Got {words[0]} instead",
            hint="install TensorFlow beside the gateway, or serve models as they are: --no-verify",
        )
    return [(line.get("digest", ""), line.get("error", "")) for line in lines]


def _wanted(state: LedgerState) -> set[int | None]:
    trials = (state.canary, state.shadow)
    return {state.live, *(trial.version for trial in trials if trial is not None)}


def _difference(folder: Path, version: int, state: LedgerState, digest: str) -> str:
    expected = state.entries[version].pushed.model_digest
    if digest == expected:
        return ""
    return (
        f"{folder}: version {version} must be the model that was released, digest {expected}. "
        f"Got {digest} instead; restore the folder, or serve it with --no-verify"
    )


def _identity(folder: Path) -> Identity:
    found = []
    for root, folders, names in os.walk(folder):
        for name in (*names, *(name for name in folders if os.path.islink(os.path.join(root, name)))):
            path = os.path.join(root, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            # The times: nobody can set that of the last change of status.
            times = (status.st_mtime_ns, status.st_ctime_ns)
            found.append((os.path.relpath(path, folder), status.st_size, *times, status.st_ino))
    return tuple(sorted(found))
