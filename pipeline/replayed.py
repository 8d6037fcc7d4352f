"""Captured requests of a line asked again: which records, which models, and what became of those models since."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.record import run_folder
from pipeline.state import State
from schema.errors import ReleaseError, UsageError
from schema.line import Line
from serving.base_path import scan
from serving.capture.reader import Captured, CaptureLog, Query
from serving.client.senders import Sender
from serving.ledger import Ledger
from serving.ledger_events import LedgerState
from serving.replay.answerers import REPLAY_PREFIX, Answerer, LocalModel, RemoteModel
from serving.replay.replay import Redacted, replay
from serving.signing.trust import Trust


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which records are asked again, and by whom they are answered.

    Attributes:
        since: those whose request came at this time or later, seconds since the epoch.
        until: and before this one.
        request_ids: those with these ids; empty for all.
        limit: the newest so many, or None for all.
        version: the version to ask, or None for the one that answered.
        server: the server's address in words, or None for the models in this process.
        sender: the way to that server.
        trust: whose signature a model must have to be loaded in this process, or None where it needs none.
        token: its bearer token, or None.
        deadline: seconds for each of its answers.
    """

    since: float | None = None
    until: float | None = None
    request_ids: tuple[str, ...] = ()
    limit: int | None = None
    version: int | None = None
    server: str | None = None
    sender: Sender | None = None
    trust: Trust | None = None
    token: str | None = None
    deadline: float = 30.0


def replay_line(line: Line, state: State, wanted: Wanted) -> dict[str, Any]:
    """Asks captured requests of a line again and compares the answers.

    Args:
        line: the line config.
        state: the line's state.
        wanted: which, and by whom.

    Returns:
        `requests` (asked, equal, different, skipped, rows), `versions` with their digests then and now, `different`,
        `skipped` (reason, count and ids), `outputs` (what the differences of each come to) and `damaged`.

    Raises:
        UsageError: a request is not captured, or the version was never released.
        CallFailed: the server cannot be reached.
        ReleaseError: the release ledger is damaged.
    """
    log = CaptureLog(state.capture)
    ledger = Ledger(state.ledger).state()
    if wanted.version is not None and wanted.server is None and wanted.version not in ledger.entries:
        known = ", ".join(map(str, ledger.entries)) or "none yet"
        raise UsageError(f"--version must be one that was released: {known}. Got {wanted.version} instead")
    records = _records(log, wanted)
    models = _Models(line.name, ledger, state.base_path(line.pusher.push_destination), wanted)
    redacted = {version: _redacted(line, state, ledger, version) for version in ledger.entries}
    result = replay(records, models.open, model=line.name, version=wanted.version, redacted=redacted)
    skipped = [
        {"reason": reason, "count": len(ids), "request_ids": ids} for reason, ids in sorted(result.skipped.items())
    ]
    return {
        "line": line.name,
        "server": wanted.server,
        "requests": {
            "asked": result.equal + len(result.different),
            "equal": result.equal,
            "different": len(result.different),
            "skipped": sum(map(len, result.skipped.values())),
            "rows": result.rows,
        },
        "versions": models.opened,
        "different": result.different,
        "skipped": skipped,
        "outputs": result.outputs,
        "damaged": [{"file": str(d.path), "offset": d.offset, "reason": d.reason} for d in log.damaged],
    }


def is_as_it_was(document: dict[str, Any]) -> bool:
    """Returns whether all answers are equal, and all models those that were released and may be loaded."""
    versions = document["versions"]
    return not document["different"] and not any(version["changed"] or version["refused"] for version in versions)


def _records(log: CaptureLog, wanted: Wanted) -> Sequence[Captured]:
    found: list[Captured]
    if not wanted.request_ids:
        found = log.newest(Query(wanted.since, wanted.until), wanted.limit)
        return [one for one in found if not one.metadata.capture.request_id.startswith(REPLAY_PREFIX)]
    found = []
    for name in dict.fromkeys(wanted.request_ids):
        own = log.with_request_id(name)
        if not own:
            raise UsageError(
                f"--request-id must be the id of a captured request. Got {name!r} instead",
                hint="conveyor logs LINE shows those that there are",
            )
        found += own
    return found


class _Models:
    """Gives what answers for a version, and notes whether its folder is what was released."""

    def __init__(self, name: str, ledger: LedgerState, base_path: Path, wanted: Wanted) -> None:
        self._name = name
        self._ledger = ledger
        self._base_path = base_path
        self._wanted = wanted
        self.opened: list[dict[str, Any]] = []

    def open(self, version: int) -> Answerer:
        """See `serving.replay.replay.Open`."""
        entry = self._ledger.entries.get(version)
        released = entry.pushed.model_digest if entry else None
        if self._wanted.sender is not None:
            self._note(version, released, None, None)
            return RemoteModel(self._wanted.sender, str(self._wanted.server), self._wanted.token, self._wanted.deadline)
        folder = scan(self._base_path).folder(version)
        if folder is None:
            raise ReleaseError(f"the folder of version {version} is gone from {self._base_path}")
        from serving.model_digest import model_digest

        if self._wanted.trust is None:
            model = LocalModel(self._name, version, folder)
        else:
            model = self._signed(version, folder, released, self._wanted.trust)
        self._note(version, released, model_digest(folder), str(folder))
        return model

    def _signed(self, version: int, folder: Path, released: str | None, trust: Trust) -> LocalModel:
        with tempfile.TemporaryDirectory(prefix="conveyor-") as private:
            try:
                trust.check(folder, self._ledger, version, Path(private))
            except ReleaseError:
                self._note(version, released, None, str(folder), refused=True)
                raise
            return LocalModel(self._name, version, Path(private))

    def _note(
        self, version: int, released: str | None, found: str | None, folder: str | None, *, refused: bool = False
    ) -> None:
        self.opened.append(
            {
                "version": version,
                "model_digest": released,
                "found": found,
                "folder": folder,
                "changed": found is not None and found != released,
                "refused": refused,
            }
        )


def _redacted(line: Line, state: State, ledger: LedgerState, version: int) -> Redacted:
    """Returns what capture leaves out or hashes: now, or when the version was made."""
    capture = line.serving.capture
    left_out, hashed = set(capture.leave_out), set(capture.hash)
    run_id = ledger.entries[version].pushed.run_id
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((run_folder(state, str(run_id)) / "run.json").read_text(encoding="utf-8"))
        before = record["config"]["serving"]["capture"]
        left_out |= set(before["leave_out"])
        hashed |= set(before["hash"])
    return Redacted(frozenset(left_out), frozenset(hashed))
