"""Random histories of runs, releases and collections: nothing that is needed goes, and nothing else stays."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.garbage import collect
from pipeline.garbage.plan import Plan
from tests.pipeline.garbage.dying import dying
from tests.pipeline.garbage.fake_line import NODES, FakeLine, in_memory

DAY = 86_400.0
START = 1_900_000_000.0


class Killed(BaseException):
    """The process ends here."""


class Histories(RuleBasedStateMachine):
    """A line that is run, released, rolled back and swept, and what of it must still be there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.events: list[tuple[float, frozenset[int]]] = []
        self.pruned: set[int] = set()

    @initialize(
        runs_days=st.sampled_from([0, 0, 10]),
        keep_runs=st.sampled_from([1, 1, 2]),
        served_days=st.sampled_from([0, 5, 40]),
        label_days=st.sampled_from([0, 0, 20]),
        prune=st.booleans(),
    )
    def begin(self, prune: bool, **retention: Any) -> None:
        self.retention = retention
        self.line = FakeLine(self.folder, START, retention, connection=in_memory())
        # So that there is something to need and something to remove from the start.
        self.run_the_line(spans=1, seed=1, metric=1, push=True, prune=False)
        self.run_the_line(spans=2, seed=2, metric=1, push=True, prune=prune)
        self.run_the_line(spans=1, seed=3, metric=1, push=False, prune=False)
        self.time_goes_by(days=1)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(
        spans=st.integers(1, 3),
        seed=st.integers(1, 3),
        metric=st.integers(1, 2),
        push=st.booleans(),
        prune=st.booleans(),
    )
    def run_the_line(self, spans: int, seed: int, metric: int, push: bool, prune: bool) -> None:
        run_id, _ = self.line.run(spans=spans, seed=seed, metric=metric)
        if push:
            self.line.push(run_id)
            self.released()
        if push and prune:
            self.prune_the_oldest()

    @rule(node=st.sampled_from(list(NODES)), seed=st.integers(1, 3))
    def run_is_killed(self, node: str, seed: int) -> None:
        self.line.run(seed=seed, until=node)

    @rule(days=st.sampled_from([1, 6, 15]))
    def time_goes_by(self, days: int) -> None:
        self.line.now += days * DAY

    @precondition(lambda self: len(self.others()) > 0)
    @rule(data=st.data())
    def rollback(self, data: Any) -> None:
        self.line.append("rollback", data.draw(st.sampled_from(self.others())))
        self.released()

    @precondition(lambda self: len(self.others()) > 0)
    @rule(data=st.data(), kind=st.sampled_from(["canary", "shadow"]))
    def trial(self, data: Any, kind: str) -> None:
        state = self.line.ledger.state()
        above = [version for version in self.others() if version not in state.trials]
        if above:
            more = {"from_version": state.live} if kind == "canary" else {}
            self.line.append(kind, data.draw(st.sampled_from(above)), share=0.1, **more)
            self.released()

    @rule(promote=st.booleans())
    def trial_ends(self, promote: bool) -> None:
        state = self.line.ledger.state()
        if state.canary is not None:
            self.line.append("promoted" if promote else "canary_ended", state.canary.version)
            self.released()

    def prune_the_oldest(self) -> None:
        """Takes the oldest version out of the base path, as `pusher.keep_versions` does."""
        state = self.line.ledger.state()
        free = [version for version in self.others() if version not in state.trials]
        if free:
            self.line.append("pruned", free[0])
            self.pruned.add(free[0])

    @rule()
    def dry_run(self) -> None:
        before = self.line.artifact_states(), sorted(self.line.state.root.rglob("*"))
        self.collect(dry_run=True)
        assert before == (self.line.artifact_states(), sorted(self.line.state.root.rglob("*")))

    @rule()
    def collect_all(self) -> None:
        plan = self.collect()
        needed = self.needed()
        states = self.line.artifact_states()
        assert not (self.line.state.root / "trash").exists()
        for number, made in self.line.made.items():
            assert made.uri.is_dir() == (number in needed), f"{made} of {sorted(needed)}"
            assert states[number] == ("LIVE" if number in needed else "DELETED")
        there = {path.parent for path in self.line.state.pipeline_root.rglob("*") if path.is_file()}
        assert there == {self.line.made[number].uri for number in needed}, "leftovers stay"
        assert not list((self.line.state.root / "spans").glob(".*"))
        assert {item.path for item in self.collect().removed} == set(), "twice the same"
        assert {Path(item.path) for item in plan.removed}.isdisjoint(map(Path, (item.path for item in plan.kept)))

    @rule(step=st.integers(0, 12), when=st.sampled_from(["before", "after"]))
    def collect_and_die(self, step: int, when: str) -> None:
        with contextlib.suppress(Killed), dying(step, when, die):
            self.collect()
        states = self.line.artifact_states()
        for number, made in self.line.made.items():
            if states[number] == "LIVE":
                assert (made.uri / "word").read_text() == str(number), "a live artifact must be whole"
            elif states[number] == "DELETED":
                assert not made.uri.exists(), "what ML Metadata calls deleted must be gone"
        self.check()

    def check(self) -> None:
        """Asserts that all that is needed is there."""
        states = self.line.artifact_states()
        for number in self.needed():
            made = self.line.made[number]
            assert (made.uri / "word").read_text() == str(number), f"{made} is needed"
            assert states[number] == "LIVE"
            if made.key == "examples":
                spans = int((made.uri / "span.json").read_text())
                assert (self.line.state.root / "spans" / f"{spans:064x}" / "span.json").is_file()

    def collect(self, dry_run: bool = False) -> Plan:
        with mock.patch.object(collect, "open_store", lambda *_: self.line.store):
            plan = collect.collect_garbage(
                self.line.loaded, self.line.state, dry_run=dry_run, now=self.line.now, announce=lambda _: None
            )
        self.check()
        return plan

    def others(self) -> list[int]:
        """Returns the versions that are there and not live."""
        live = self.line.ledger.state().live
        return [version for version in sorted(self.line.models) if version not in self.pruned and version != live]

    def released(self) -> None:
        state = self.line.ledger.state()
        self.events.append((self.line.now, frozenset(state.trials | {state.live})))  # type: ignore[arg-type]

    def needed(self) -> set[int]:
        """Returns the artifacts that are needed, by another way than the code's: from what the test itself has made."""
        window = max(self.retention["served_days"], self.retention["label_days"]) * DAY
        versions = set(self.line.models) - self.pruned
        ends = [*(when for when, _ in self.events[1:]), self.line.now]
        for (_, serving), until in zip(self.events, ends):  # noqa: B905 - no event has an end too
            if self.line.now - until <= window:
                versions |= serving
        newest = sorted(self.line.runs)[-self.retention["keep_runs"] :]
        runs = {
            run for run, ended in self.line.ended.items() if self.line.now - ended <= self.retention["runs_days"] * DAY
        }
        runs |= {*newest, *(self.line.models[version][0] for version in versions)}
        todo = [number for run in runs for number in self.line.runs[run]]
        found: set[int] = set()
        while todo:
            number = todo.pop()
            if number not in found:
                found.add(number)
                todo += [*self.line.made[number].sources, *self.line.made[number].siblings]
        return found | self.judged_against(runs)

    def judged_against(self, runs: set[str]) -> set[int]:
        return {number for run in runs for number in self.line.judged.get(run, ())}


def die() -> None:
    """Ends a collection as no handler of errors would expect."""
    raise Killed


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=10, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
def test_many_histories() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Histories, settings=settings(TestHistories.settings, max_examples=60, stateful_step_count=20)
    )
