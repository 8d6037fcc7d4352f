from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.pusher import push as push_module
from components.pusher.push import Candidate, PushResult, push
from schema.errors import ConfigError, ReleaseError
from serving.base_path import scan
from serving.ledger import Ledger
from serving.releases import rollback, table


def digest(folder: Path) -> str:
    """A digest that needs no SavedModel: what two files say."""
    return (folder / "saved_model.pb").read_text() + (folder / "variables" / "data").read_text()


class Line:
    """A ledger, its base path and models to push there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "releases.jsonl")
        self.base = folder / "serving_model" / "taxi"

    def candidate(self, name: str) -> Candidate:
        model = self.folder / "models" / name
        if not model.exists():
            (model / "variables").mkdir(parents=True)
            (model / "saved_model.pb").write_text(name)
            (model / "variables" / "data").write_text(name)
        return Candidate(model, name + name, f"uri-of-{name}", f"run-of-{name}")

    def push(self, name: str, keep: int | None = None) -> PushResult:
        return push(self.candidate(name), self.base, self.ledger, digest=digest, keep_versions=keep)

    def rollback(self, to: int | None = None) -> None:
        rollback(self.ledger, self.base, to, digest=digest)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.base.iterdir() if path.name != ".push.lock")


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_the_first_version_is_one_and_the_next_is_two(line: Line) -> None:
    first, second = line.push("a"), line.push("b")
    assert (first.outcome, first.version, second.version) == ("pushed", 1, 2)
    assert (first.new, first.live, first.path) == (True, True, line.base / "1")
    assert line.names() == ["1", "2"]
    assert digest(line.base / "2") == "bb"
    live = table(line.ledger, line.base)[0]
    assert (live.version, live.status, live.run_id) == (2, "live", "run-of-b")
    assert (live.model_digest, live.model_uri, live.verdict) == ("bb", "uri-of-b", "pushed")


def test_the_model_that_is_live_already_makes_no_new_version(line: Line) -> None:
    line.push("a")
    again = line.push("a")
    assert (again.outcome, again.version, again.new, again.live) == ("already live", 1, False, True)
    assert "live already as version 1" in again.reason
    assert line.names() == ["1"]
    assert len(line.ledger.read()[0]) == 1


def test_a_superseded_model_may_come_back_as_a_new_version(line: Line) -> None:
    for name in "aba":
        line.push(name)
    assert line.ledger.state().live == 3
    assert line.names() == ["1", "2", "3"]


def test_a_model_that_was_rolled_back_is_not_pushed_again(line: Line) -> None:
    line.push("a")
    line.push("b")
    line.rollback()
    result = line.push("b")
    assert (result.outcome, result.version, result.new, result.live) == ("rolled back before", 2, False, False)
    assert "conveyor rollback --to 2" in result.reason
    assert line.names() == ["1", "2.rolled-back"]
    assert line.push("c").version == 3


def test_a_push_finishes_a_rollback_that_was_killed(line: Line) -> None:
    for name in "ab":
        line.push(name)
    line.rollback()
    os.rename(line.base / "2.rolled-back", line.base / "2")
    line.push("c")
    assert line.names() == ["1", "2.rolled-back", "3"]


def half(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:1])
    if source.name == "data":
        raise KeyboardInterrupt


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["shutil.copyfile", "os.rename", "Ledger.append"])
def test_a_push_that_is_killed_at_any_step_is_finished_by_the_next(
    line: Line, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    line.push("a")
    with monkeypatch.context() as patch:
        if step == "shutil.copyfile":
            patch.setattr(push_module.shutil, "copyfile", half)
        elif step == "os.rename":
            patch.setattr(push_module.os, "rename", interrupt)
        else:
            patch.setattr(Ledger, "append", interrupt)
        with pytest.raises(KeyboardInterrupt):
            line.push("b")
    assert line.ledger.state().live == 1
    assert scan(line.base).served == (2 if step == "Ledger.append" else 1)
    result = line.push("b")
    assert (result.outcome, result.version) == ("adopted" if step == "Ledger.append" else "pushed", 2)
    assert (result.new, result.live) == (True, True)
    assert line.names() == ["1", "2"]
    assert [each.version for each in line.ledger.read()[0]] == [1, 2]


def test_the_orphan_of_another_model_is_left_alone_and_never_live(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.push("a")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", interrupt)
        with pytest.raises(KeyboardInterrupt):
            line.push("b")
    assert line.push("c").version == 3
    assert line.names() == ["1", "2", "3"]
    assert {each.version: each.status for each in table(line.ledger, line.base)} == {
        3: "live",
        2: "unrecorded",
        1: "superseded",
    }
    line.rollback()
    assert scan(line.base).served == 1


def test_an_orphan_that_was_withdrawn_is_not_adopted(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.push("a")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", interrupt)
        with pytest.raises(KeyboardInterrupt):
            line.push("b")
    line.rollback()
    result = line.push("b")
    assert (result.outcome, result.version) == ("rolled back before", 2)
    assert line.names() == ["1", "2.rolled-back"]


def test_a_version_that_cannot_be_recorded_is_not_served(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.push("a")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", full)
        with pytest.raises(ReleaseError, match="No space left on device") as caught:
            line.push("b")
    assert "was not released" in caught.value.hint
    assert scan(line.base).served == 1
    assert line.push("b").outcome == "pushed"
    assert line.names() == ["1", "2"]


def test_at_no_time_does_the_server_see_a_part_of_a_model(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    copyfile: Callable[..., object] = push_module.shutil.copyfile

    def watched(source: Path, target: Path) -> object:
        seen.append(sorted(map(str, scan(line.base).visible)))
        return copyfile(source, target)

    line.push("a")
    monkeypatch.setattr(push_module.shutil, "copyfile", watched)
    line.push("b")
    assert seen == [["1"], ["1"]]


def test_a_copy_that_went_wrong_is_not_released(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = push_module._copy_durably

    def flip(source: Path, target: Path) -> None:
        copy(source, target)
        if (target / "saved_model.pb").exists():
            (target / "saved_model.pb").write_text("z")

    monkeypatch.setattr(push_module, "_copy_durably", flip)
    with pytest.raises(ReleaseError, match="must have the model digest aa. Got za"):
        line.push("a")
    assert line.ledger.state().live is None
    assert not scan(line.base).visible


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_live_version_that_is_not_what_was_released_is_an_error(line: Line, harm: str) -> None:
    line.push("a")
    (line.base / "1" / "saved_model.pb").write_text("z")
    if harm == "missing":
        os.rename(line.base / "1", line.base / "elsewhere")
    with pytest.raises(ReleaseError, match="version 1, which is live, must hold the model") as caught:
        line.push("a")
    assert "restore it" in caught.value.hint


def test_pruning_keeps_the_newest(line: Line) -> None:
    for name in "abcd":
        result = line.push(name, keep=2)
    assert line.names() == ["3", "4"]
    assert result.reason == "version 4 is live; removed version 2"
    assert {each.version: each.status for each in table(line.ledger, line.base)}[1] == "pruned"


def test_pruning_never_removes_the_live_version_or_the_one_before(line: Line) -> None:
    for name in "abcd":
        line.push(name)
    line.rollback(1)
    line.push("e", keep=2)
    assert line.ledger.state().live == 5
    assert line.ledger.state().previous == 1
    assert line.names() == ["1", "4.rolled-back", "5"]
    line.rollback()
    assert scan(line.base).served == 1


def test_pruning_does_not_touch_what_it_does_not_know(line: Line) -> None:
    for name in "abc":
        line.push(name)
    (line.base / "0").mkdir()
    (line.base / "notes").mkdir()
    line.push("d", keep=2)
    assert line.names() == ["0", "3", "4", "notes"]


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("gs://bucket/taxi", "pusher.push_destination must be in a bucket that is mounted at /.*/mounted/bucket"),
        (
            "hdfs://cluster/taxi",
            "pusher.push_destination must be in a bucket that is mounted at /hdfs/cluster. Got 'hdfs:",
        ),
    ],
)
def test_a_destination_that_is_no_local_folder_is_refused(
    line: Line, destination: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVEYOR_GCS_MOUNT", str(tmp_path / "mounted"))
    with pytest.raises(ConfigError, match=said):
        push(line.candidate("a"), destination, line.ledger, digest=digest)


def test_a_destination_in_a_mounted_bucket(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVEYOR_GCS_MOUNT", str(tmp_path / "mounted"))
    (tmp_path / "mounted" / "bucket").mkdir(parents=True)
    result = push(line.candidate("a"), "gs://bucket/taxi", line.ledger, digest=digest)
    assert result.path == tmp_path / "mounted" / "bucket" / "taxi" / "1" and result.path.is_dir()


def test_a_destination_that_cannot_be_written_is_refused(line: Line) -> None:
    line.base.parent.mkdir(parents=True)
    line.base.write_text("a file")
    with pytest.raises(ReleaseError, match="must be writable. Got .*File exists"):
        line.push("a")
