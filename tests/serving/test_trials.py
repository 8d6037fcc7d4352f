"""Canary, promotion and shadow: what the ledger says, and what a server that knows no ledger sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.errors import ReleaseError
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.releases import rollback, table
from serving.traffic import Split, split_of
from serving.trials import canary, end_shadow, promote, shadow


def digest(folder: Path) -> str:
    return (folder / "saved_model.pb").read_text()


class Line:
    """A ledger and its base path, with three versions, the third one live."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder / "releases.jsonl")
        self.base = folder / "serving_model" / "taxi"
        for version in (1, 2, 3):
            self.push(version)

    def push(self, version: int) -> None:
        (self.base / str(version)).mkdir(parents=True)
        (self.base / str(version) / "saved_model.pb").write_text(f"digest-{version}")
        self.ledger.append(
            LedgerEvent(
                event="pushed",
                version=version,
                run_id=f"run-{version}",
                model_digest=f"digest-{version}",
                who="ada",
                when="2026-01-01T00:00:00+00:00",
            )
        )

    def canary(self, version: int, share: float = 0.1) -> None:
        canary(self.ledger, self.base, version, share, digest=digest)

    def shadow(self, version: int, share: float = 1.0) -> None:
        shadow(self.ledger, self.base, version, share, digest=digest)

    def promote(self) -> None:
        promote(self.ledger, self.base, digest=digest)

    def rollback(self, version: int | None = None) -> None:
        rollback(self.ledger, self.base, version, digest=digest)

    def split(self) -> Split:
        return split_of("taxi", self.ledger.state())

    def names(self) -> list[str]:
        return sorted(path.name for path in self.base.iterdir())

    def statuses(self) -> dict[int, str]:
        releases = table(self.ledger, self.base)
        assert [release.problem for release in releases] == [""] * len(releases)
        return {release.version: release.status for release in releases}


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_the_live_version_as_canary_gives_the_rest_to_the_one_before(line: Line) -> None:
    line.canary(3, 0.1)
    assert line.split() == Split("taxi", stable=2, canary=3, share=0.1)
    assert line.statuses() == {3: "canary", 2: "live", 1: "superseded"}
    assert line.names() == ["1", "2", "3"]


def test_promotion_makes_the_canary_live_and_a_rollback_then_goes_to_the_stable_one(line: Line) -> None:
    line.canary(3)
    line.promote()
    assert line.split() == Split("taxi", stable=3)
    line.rollback()
    assert line.split() == Split("taxi", stable=2)
    assert line.names() == ["1", "2", "3.rolled-back"]


def test_a_rollback_ends_the_canary_and_goes_no_further(line: Line) -> None:
    line.canary(3)
    line.rollback()
    assert line.split() == Split("taxi", stable=2)
    assert line.statuses() == {3: "rolled back", 2: "live", 1: "superseded"}
    assert line.names() == ["1", "2", "3.rolled-back"]


def test_an_older_version_as_canary_and_its_promotion(line: Line) -> None:
    line.canary(1, 0.5)
    assert line.split() == Split("taxi", stable=3, canary=1, share=0.5)
    line.promote()
    assert line.split() == Split("taxi", stable=1)
    assert line.names() == ["1", "2.rolled-back", "3.rolled-back"], "a plain server serves the highest that it sees"


def test_ending_an_older_canary_leaves_every_folder_where_it_is(line: Line) -> None:
    line.canary(1)
    line.rollback()
    assert line.split() == Split("taxi", stable=3)
    assert line.names() == ["1", "2", "3"]


def test_a_version_that_was_rolled_back_can_be_tried_again(line: Line) -> None:
    line.rollback()
    line.canary(3, 0.2)
    assert line.split() == Split("taxi", stable=2, canary=3, share=0.2)
    assert line.names() == ["1", "2", "3"]


def test_the_share_can_grow(line: Line) -> None:
    line.canary(3, 0.1)
    line.canary(3, 0.5)
    assert line.split() == Split("taxi", stable=2, canary=3, share=0.5)


def test_another_canary_takes_the_place_of_the_first(line: Line) -> None:
    line.canary(3)
    line.canary(1)
    assert line.split() == Split("taxi", stable=2, canary=1, share=0.1)
    assert line.names() == ["1", "2", "3.rolled-back"]


def test_a_push_ends_the_canary(line: Line) -> None:
    line.canary(3)
    line.push(4)
    assert line.split() == Split("taxi", stable=4)


def test_shadow_and_its_end(line: Line) -> None:
    line.rollback()
    line.shadow(3, 0.25)
    assert line.split() == Split("taxi", stable=2, shadow=3, shadow_share=0.25)
    assert line.statuses() == {3: "shadow", 2: "live", 1: "superseded"}
    end_shadow(line.ledger, line.base)
    assert line.split() == Split("taxi", stable=2)
    assert line.names() == ["1", "2", "3.rolled-back"]


def test_canary_and_shadow_at_once(line: Line) -> None:
    line.canary(3)
    line.shadow(1)
    assert line.split() == Split("taxi", stable=2, canary=3, share=0.1, shadow=1, shadow_share=1.0)
    assert line.split().versions == (1, 2, 3)
    assert line.split().labels == {"stable": 2, "canary": 3}


@pytest.mark.parametrize(
    ("version", "share", "words"),
    [
        (3, 0.0, "share must be above 0"),
        (3, 1.5, "share must be above 0 and at most 1. Got 1.5"),
        (3, float("nan"), "share must be"),
        (9, 0.1, "one that was released: 1, 2, 3. Got 9"),
    ],
)
def test_what_cannot_be_a_canary(line: Line, version: int, share: float, words: str) -> None:
    before = line.ledger.path.read_bytes()
    with pytest.raises(ReleaseError, match=words):
        line.canary(version, share)
    assert line.ledger.path.read_bytes() == before


def test_a_changed_model_is_no_canary(line: Line) -> None:
    (line.base / "3" / "saved_model.pb").write_text("tampered with")
    with pytest.raises(ReleaseError, match="must be the model that was released"):
        line.canary(3)


def test_a_version_that_answers_is_no_shadow(line: Line) -> None:
    line.canary(3)
    for version in (2, 3):
        with pytest.raises(ReleaseError, match="answers no requests"):
            line.shadow(version)


def test_nothing_to_promote_and_nothing_to_end(line: Line) -> None:
    with pytest.raises(ReleaseError, match="must be a canary to promote"):
        line.promote()
    with pytest.raises(ReleaseError, match="must be a shadow to end"):
        end_shadow(line.ledger, line.base)


def test_a_version_alone_is_no_canary(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.rollback(1)
    with pytest.raises(ReleaseError, match="needs another version"):
        line.canary(1)


def test_a_canary_killed_before_its_folder_is_back_is_finished(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.rollback()
    with monkeypatch.context() as patch:
        patch.setattr("serving.release_change.reconcile", lambda *_: [])
        line.canary(3)
    assert line.names() == ["1", "2", "3.rolled-back"]
    line.canary(3, 0.3)
    assert line.names() == ["1", "2", "3"]
