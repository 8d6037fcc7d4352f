"""Digests are computed ahead, once for what is in a folder, and compared with the ledger's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from schema.errors import ReleaseError
from serving import releases
from serving.gateway.digests import Digests, in_process_of_its_own
from serving.model_digest import model_digest
from tests.serving.line_server.conftest import ToyLine, until


class Computed:
    """Computes digests in this process, and notes of which folders."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, folders: Sequence[Path]) -> list[tuple[str, str]]:
        self.asked.append([folder.name for folder in folders])
        found = []
        for folder in folders:
            try:
                found.append((model_digest(folder), ""))
            except ReleaseError as error:
                found.append(("", str(error)))
        return found


def test_what_is_live_comes_first_and_the_others_are_known_beforehand(toy_line: ToyLine) -> None:
    toy_line.push(1, 2, 3)
    toy_line.canary(2, 0.5)
    computed = Computed()
    digests = Digests(toy_line.base, toy_line.ledger, computed)
    assert digests.look() and not digests.look()
    assert [sorted(names) for names in computed.asked] == [["2", "3"], ["1"]]
    assert [digests.objection(version) for version in (1, 2, 3, 4)] == ["", "", "", None]
    # A rollback renames a folder; what is in it is the same.
    releases.rollback(toy_line.ledger, toy_line.base, 1)
    assert not digests.look()
    assert digests.objection(2) == "" and len(computed.asked) == 2


def test_another_model_than_was_released(toy_line: ToyLine) -> None:
    toy_line.push(1)
    toy_line.record(2, "0" * 64)
    toy_line._models.write(toy_line.base, 2, offset=2.0)
    digests = Digests(toy_line.base, toy_line.ledger, Computed())
    digests.look()
    objection = digests.objection(2)
    assert objection is not None and "must be the model that was released, digest 0000" in objection


def test_a_broken_model_is_looked_at_again_once_it_is_mended(toy_line: ToyLine) -> None:
    toy_line.push(1)
    file = toy_line.base / "1" / "saved_model.pb"
    whole = file.read_bytes()
    file.write_bytes(b"\xff" * 100)
    digests = Digests(toy_line.base, toy_line.ledger, Computed())
    digests.look()
    assert "must be a SavedModel" in (digests.objection(1) or "")
    file.write_bytes(whole)
    digests.look()
    assert digests.objection(1) == ""


def test_a_folder_that_is_renamed_while_it_is_read_is_not_condemned(toy_line: ToyLine) -> None:
    toy_line.push(1)
    folder, away = toy_line.base / "1", toy_line.base / "1.rolled-back"
    real = Computed()

    def renaming(folders: Sequence[Path]) -> list[tuple[str, str]]:
        os.rename(folder, away)
        return real(folders)

    digests = Digests(toy_line.base, toy_line.ledger, renaming)
    digests.look()
    assert digests.objection(1) is None
    os.rename(away, folder)
    digests._compute = real
    digests.look()
    assert digests.objection(1) == ""


def test_it_follows_by_itself(toy_line: ToyLine) -> None:
    digests = Digests(toy_line.base, toy_line.ledger, Computed())
    digests.start()
    toy_line.push(1)
    until(lambda: digests.objection(1) == "")
    digests.stop()


@pytest.mark.slow
def test_they_are_computed_in_a_process_of_its_own(toy_line: ToyLine, tmp_path: Path) -> None:
    toy_line.push(1)
    (tmp_path / "none").mkdir()
    found = in_process_of_its_own([toy_line.base / "1", tmp_path / "none"])
    assert found[0] == (model_digest(toy_line.base / "1"), "")
    assert found[1][0] == "" and "must be a SavedModel" in found[1][1]


def test_where_they_cannot_be_computed_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'ModuleNotFoundError: no tensorflow' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(ReleaseError, match="must be computed before it is served. Got ModuleNotFoundError") as caught:
        in_process_of_its_own([tmp_path])
    assert "--no-verify" in str(caught.value)
