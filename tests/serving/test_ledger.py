from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.errors import ReleaseError
from serving.ledger import Ledger, os_user, utc_now
from serving.ledger_events import LedgerEvent, parse, replay


def event(kind: str, version: int | None, **more: object) -> LedgerEvent:
    digest = f"digest-{version}" if kind == "pushed" else None
    run = f"run-{version}" if kind == "pushed" else None
    values = {"run_id": run, "model_digest": digest, "who": "ada", "when": "2026-01-01T00:00:00+00:00", **more}
    return LedgerEvent(event=kind, version=version, **values)


def push(*versions: int) -> list[LedgerEvent]:
    return [event("pushed", version) for version in versions]


def test_the_last_push_is_live_and_a_rollback_goes_to_the_one_before() -> None:
    state = replay(push(1, 2, 3))
    assert (state.live, state.previous) == (3, 2)
    assert [entry.predecessor for entry in state.entries.values()] == [None, 1, 2]


def test_an_empty_ledger_has_nothing_live() -> None:
    state = replay([])
    assert (state.live, state.previous, state.live_entry) == (None, None, None)


def test_rollback_withdraws_every_higher_version() -> None:
    state = replay([*push(1, 2, 3), event("rollback", 1)])
    assert (state.live, state.previous) == (1, None)
    assert [entry.withdrawn for entry in state.entries.values()] == [False, True, True]


def test_rolling_forward_puts_one_version_back_and_leaves_the_others_withdrawn() -> None:
    state = replay([*push(1, 2, 3), event("rollback", 1), event("rollback", 3)])
    assert (state.live, state.previous) == (3, 1)
    assert [entry.withdrawn for entry in state.entries.values()] == [False, True, False]


def test_a_push_after_a_rollback_goes_back_to_what_was_live_then() -> None:
    state = replay([*push(1, 2), event("rollback", 1), *push(3)])
    assert (state.live, state.previous, state.entries[3].predecessor) == (3, 1, 1)


def test_a_pruned_version_is_none_to_go_back_to() -> None:
    state = replay([*push(1, 2, 3), event("pruned", 1), event("rollback", 2)])
    assert (state.live, state.previous) == (2, None)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([*push(1), event("pushed", 1)], "above 1"),
        ([*push(2), event("pushed", 1)], "above 2"),
        ([*push(1), event("rollback", 7)], "one of \\[1\\]"),
        ([*push(1, 2), event("pruned", 2)], "is live"),
        ([*push(1, 2), event("pruned", 1), event("rollback", 1)], "was pruned"),
        ([event("rollback", None)], "must name a version"),
        ([event("pushed", 1, model_digest=None)], "must name model_digest"),
    ],
)
def test_contradictions_are_refused(events: list[LedgerEvent], words: str) -> None:
    with pytest.raises(ReleaseError, match=words):
        replay(events)


def test_append_and_read_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state" / "releases.jsonl")
    for each in push(1, 2):
        ledger.append(each)
    state = ledger.append(event("rollback", 1, reason="worse on Cash – measured"))
    assert state.live == ledger.state().live == 1
    events, torn = ledger.read()
    assert [each.event for each in events] == ["pushed", "pushed", "rollback"]
    assert events[2].reason == "worse on Cash – measured"
    assert torn == b""
    lines = ledger.path.read_text().splitlines()
    assert all(json.loads(line)["who"] == "ada" for line in lines)


def test_a_refused_event_is_not_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "releases.jsonl")
    ledger.append(event("pushed", 1))
    before = ledger.path.read_bytes()
    with pytest.raises(ReleaseError):
        ledger.append(event("rollback", 9))
    assert ledger.path.read_bytes() == before


@given(st.data())
def test_wherever_the_last_line_is_torn_it_is_not_read(data: st.DataObject) -> None:
    content = b"".join(each.line() for each in push(1, 2))
    last = event("pushed", 3, reason="ümläut").line()
    cut = data.draw(st.integers(0, len(last) - 1))
    events, torn = parse(content + last[:cut])
    assert replay(events).live == 2
    assert torn == last[:cut]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200))
def test_appending_to_a_torn_ledger_starts_on_a_fresh_line(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "releases.jsonl")
    ledger.append(event("pushed", 1))
    torn = event("pushed", 2, reason="x" * 200).line()[:cut]
    with open(ledger.path, "ab") as file:
        file.write(torn)
    assert ledger.state().torn == torn
    assert ledger.append(event("pushed", 2, run_id="again")).live == 2
    events, rest = ledger.read()
    assert [each.event for each in events] == ["pushed", "repaired", "pushed"]
    assert torn.decode() in (events[1].reason or "")
    assert (rest, events[2].run_id) == (b"", "again")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "must be a JSON object. Got '{'"),
        (b"", "must be a JSON object"),
        (b"\xff\xfe", "must be a JSON object"),
        (b"[1]", "valid dictionary"),
        (b'{"event":"sold","version":1,"who":"x","when":"y"}', "event: "),
        (b'{"event":"pushed","version":-1,"who":"x","when":"y"}', "version: "),
        (b'{"event":"pushed","version":1,"who":"x","when":"y","colour":"red"}', "colour: "),
        (b'{"event":"rollback","version":8,"who":"x","when":"y"}', "Got 8 instead"),
    ],
)
def test_damage_in_the_middle_names_file_and_line(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "releases.jsonl"
    first, second = push(1, 2)
    path.write_bytes(first.line() + line + b"\n" + second.line())
    with pytest.raises(ReleaseError, match=f"releases.jsonl, line 2: .*{words}") as caught:
        Ledger(path).state()
    assert "backup" in caught.value.hint
    with pytest.raises(ReleaseError):
        Ledger(path).append(event("pushed", 3))


def _append_until_killed(path: str, start: int) -> None:
    ledger = Ledger(path)
    for version in range(start, start + 10_000):
        ledger.append(event("pushed", version, reason="x" * 2000))


def test_kill_dash_nine_while_appending_loses_at_most_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "releases.jsonl"
    for _ in range(3):
        start = (Ledger(path).state().live or 0) + 1
        process = multiprocessing.get_context("fork").Process(target=_append_until_killed, args=(str(path), start))
        process.start()
        size = path.stat().st_size if path.exists() else 0
        while not path.exists() or path.stat().st_size < size + 20_000:
            time.sleep(0.005)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        state = Ledger(path).state()
        assert list(state.entries) == list(range(1, len(state.entries) + 1))
        assert len(state.entries) > start


def _append_one_of_four(path: str) -> None:
    ledger = Ledger(path)
    for _ in range(10):
        with ledger.locked():
            ledger.append(event("pushed", (ledger.state().live or 0) + 1))


def test_writers_in_many_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "releases.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_one_of_four, args=(str(path),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert list(Ledger(path).state().entries) == list(range(1, 41))


def test_who_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert os_user() and os_user() != "somebody-else"
    assert utc_now().endswith("+00:00")
