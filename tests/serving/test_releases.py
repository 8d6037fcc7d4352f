from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from schema.errors import ReleaseError
from serving import base_path as base_path_module
from serving import releases
from serving.base_path import next_version, reconcile, scan
from serving.ledger import Ledger, os_user
from serving.ledger_events import LedgerEvent
from serving.releases import rollback, table


def digest(folder: Path) -> str:
    """A digest that needs no SavedModel: what the one file says."""
    return (folder / "saved_model.pb").read_text()


class Line:
    """A ledger and its base path."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder / "releases.jsonl")
        self.base = folder / "serving_model" / "taxi"

    def push(self, *versions: int) -> None:
        for version in versions:
            self.put(str(version), f"digest-{version}")
            self.ledger.append(
                LedgerEvent(
                    event="pushed",
                    version=version,
                    run_id=f"run-{version}",
                    model_digest=f"digest-{version}",
                    verdict="pushed",
                    who="ada",
                    when="2026-01-01T00:00:00+00:00",
                    model_uri=f"/root/model/{version}",
                )
            )

    def put(self, name: str, content: str) -> None:
        (self.base / name).mkdir(parents=True)
        (self.base / name / "saved_model.pb").write_text(content)

    def rollback(self, to: int | None = None, reason: str | None = None) -> releases.Release:
        return rollback(self.ledger, self.base, to, reason=reason, digest=digest)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.base.iterdir())

    def statuses(self) -> dict[int, str]:
        return {release.version: release.status for release in table(self.ledger, self.base)}


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_the_table_shows_who_is_live_the_highest_first(line: Line) -> None:
    line.push(1, 2)
    newest, oldest = table(line.ledger, line.base)
    assert (newest.version, newest.status, newest.run_id, newest.who) == (2, "live", "run-2", "ada")
    assert (oldest.version, oldest.status, oldest.problem) == (1, "superseded", "")
    assert newest.path == str(line.base / "2")
    live = releases.live(line.ledger)
    assert live is not None and live.version == 2


def test_no_release_yet(line: Line) -> None:
    assert table(line.ledger, line.base) == []
    assert releases.live(line.ledger) is None
    with pytest.raises(ReleaseError, match="nothing was released yet"):
        line.rollback()


def test_rollback_makes_the_server_see_the_old_version_only(line: Line) -> None:
    line.push(1, 2)
    back = line.rollback(reason="worse on Cash")
    assert (back.version, back.status, back.reason) == (1, "live", "worse on Cash")
    assert scan(line.base).served == 1
    assert line.names() == ["1", "2.rolled-back"]
    assert line.statuses() == {2: "rolled back", 1: "live"}
    last = line.ledger.read()[0][-1]
    assert (last.event, last.version, last.from_version, last.model_digest) == ("rollback", 1, 2, "digest-1")
    assert last.who == os_user()


def test_rollback_to_a_named_version_and_forward_again(line: Line) -> None:
    line.push(1, 2, 3)
    line.rollback(1)
    assert line.names() == ["1", "2.rolled-back", "3.rolled-back"]
    line.rollback(3)
    assert line.names() == ["1", "2.rolled-back", "3"]
    assert line.statuses() == {3: "live", 2: "rolled back", 1: "superseded"}
    assert line.rollback().version == 1


def test_nothing_to_go_back_to(line: Line) -> None:
    line.push(1)
    with pytest.raises(ReleaseError, match="Got none before version 1") as caught:
        line.rollback()
    assert "--to" in caught.value.hint
    assert line.names() == ["1"]


@pytest.mark.parametrize(("to", "words"), [(9, "one that was released: 1, 2. Got 9"), (2, "version 2 is live already")])
def test_rollback_to_what_cannot_be(line: Line, to: int, words: str) -> None:
    line.push(1, 2)
    with pytest.raises(ReleaseError, match=words):
        line.rollback(to)
    assert line.names() == ["1", "2"]


def test_rollback_to_a_changed_model_is_refused(line: Line) -> None:
    line.push(1, 2)
    (line.base / "1" / "saved_model.pb").write_text("tampered")
    with pytest.raises(ReleaseError, match="digest digest-1. Got tampered") as caught:
        line.rollback()
    assert "backup" in caught.value.hint
    assert (line.ledger.state().live, line.names()) == (2, ["1", "2"])


def test_rollback_to_an_unreadable_model_is_refused(line: Line) -> None:
    line.push(1, 2)
    (line.base / "1" / "saved_model.pb").unlink()
    with pytest.raises(ReleaseError, match="readable SavedModel. Got FileNotFoundError"):
        line.rollback()
    assert line.ledger.state().live == 2


def test_rollback_to_a_missing_folder_is_refused(line: Line) -> None:
    line.push(1, 2)
    (line.base / "1" / "saved_model.pb").unlink()
    (line.base / "1").rmdir()
    with pytest.raises(ReleaseError, match="version 1 must have a folder"):
        line.rollback()


def test_the_real_digest_is_the_default(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def model_digest(folder: Path) -> str:
        asked.append(folder)
        raise ReleaseError("it must be a SavedModel", hint="one that the command does not know")

    monkeypatch.setitem(sys.modules, "serving.model_digest", types.SimpleNamespace(model_digest=model_digest))
    line.push(1, 2)
    with pytest.raises(ReleaseError, match="must be a SavedModel") as caught:
        rollback(line.ledger, line.base)
    assert asked == [line.base / "1"]
    assert "--to" in caught.value.hint


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("again", [None, 1])
def test_a_rollback_killed_between_its_steps_is_finished_by_the_next_call(
    line: Line, monkeypatch: pytest.MonkeyPatch, steps: int, again: int | None
) -> None:
    line.push(1, 2, 3)
    left = [steps]

    def rename(source: Path, target: Path) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        os.replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(base_path_module.os, "rename", rename)
        if steps < 2:
            with pytest.raises(KeyboardInterrupt):
                line.rollback(1)
        else:
            line.rollback(1)
    if steps < 2:
        assert scan(line.base).served == 3
        assert any("next push or rollback withdraws it" in each.problem for each in table(line.ledger, line.base))
        assert line.rollback(again).version == 1
    assert line.names() == ["1", "2.rolled-back", "3.rolled-back"]
    assert [each.event for each in line.ledger.read()[0]].count("rollback") == 1


def test_a_killed_roll_forward_is_finished(line: Line) -> None:
    line.push(1, 2)
    line.rollback()
    line.ledger.append(LedgerEvent(event="rollback", version=2, who="ada", when="now"))
    assert "puts it back" in table(line.ledger, line.base)[0].problem
    assert line.rollback().version == 2
    assert line.names() == ["1", "2"]


def test_folders_that_cannot_be_renamed_leave_an_error_that_says_so(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.push(1, 2)

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(source))

    with monkeypatch.context() as patch:
        patch.setattr(base_path_module.os, "rename", refuse)
        with pytest.raises(ReleaseError, match="recorded but not carried out.*Permission denied"):
            line.rollback()
    assert line.rollback().version == 1
    assert line.names() == ["1", "2.rolled-back"]


def test_a_folder_that_the_ledger_does_not_know_is_reported_and_withdrawn_by_a_rollback(line: Line) -> None:
    line.push(1, 2)
    line.put("7", "foreign")
    stranger, live, _ = table(line.ledger, line.base)
    assert (stranger.version, stranger.status) == (7, "unrecorded")
    assert stranger.problem == "its folder is not in the ledger, and is served"
    assert "serves version 7 instead" in live.problem
    assert line.rollback().version == 2
    assert line.names() == ["1", "2", "7.rolled-back"]
    assert line.rollback().version == 1
    assert line.names() == ["1", "2.rolled-back", "7.rolled-back"]


def test_a_version_that_is_there_twice_is_an_error(line: Line) -> None:
    line.push(1, 2)
    line.rollback()
    line.put("2", "restored by hand")
    with pytest.raises(ReleaseError, match="version 2 is there twice"):
        line.rollback(2)


def test_names_are_read_as_the_server_reads_them(tmp_path: Path) -> None:
    for name in ("007", "2.rolled-back", "3.tmp", ".tmp-4", "x5", "-6", str(2**63)):
        (tmp_path / name).mkdir()
    folders = scan(tmp_path)
    assert set(folders.visible) == {7}
    assert set(folders.withdrawn) == {2}
    assert next_version(Ledger(tmp_path / "none").state(), folders) == 8


def test_the_next_version_is_above_every_one_ever_used(line: Line) -> None:
    assert next_version(line.ledger.state(), scan(line.base)) == 1
    line.push(1, 2)
    line.rollback()
    assert next_version(line.ledger.state(), scan(line.base)) == 3
    line.put("9.rolled-back", "x")
    assert next_version(line.ledger.state(), scan(line.base)) == 10


def test_reconcile_leaves_a_sound_base_path_alone(line: Line) -> None:
    line.push(1, 2)
    line.put("8", "foreign")
    assert reconcile(line.base, line.ledger.state()) == []
    assert line.names() == ["1", "2", "8"]


def test_reconcile_removes_what_a_killed_pruning_left(line: Line) -> None:
    line.push(1, 2, 3)
    state = line.ledger.append(LedgerEvent(event="pruned", version=1, who="ada", when="now"))
    assert reconcile(line.base, state) == ["removed version 1"]
    assert line.names() == ["2", "3"]
    with pytest.raises(ReleaseError, match="version 1 was pruned on now"):
        line.rollback(1)
