"""From a request to the release, the run and all that it was made of: a thousand of them."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from pipeline.trace.documents import trace
from pipeline.trace.subject import find_subject
from schema.serving import CaptureConfig
from serving.capture.hook import CaptureHook
from serving.capture.reader import CaptureLog
from serving.capture.record import ShadowExchange
from serving.model_server.errors import Code
from serving.model_server.hooks import Exchange
from serving.standing import answering, standings
from tests.pipeline.trace.conftest import RELEASED, Home, run_id
from tests.serving.capture.exchanges import exchange

MINUTE = 60.0


def releases(home: Home) -> list[tuple[float, float, int, int]]:
    """Releases versions and rolls them back, and returns each time of a version: begin, end, version, ledger line."""
    draw = random.Random(5)
    times: list[tuple[float, float, int, int]] = []
    newest = live = 0
    for line in range(1, 9):
        begin = RELEASED + line * MINUTE
        back = [version for version in range(1, newest + 1) if version != live]
        if back and draw.random() < 0.5:
            target = draw.choice(back)
            home.event("rollback", target, begin, from_version=live)
            live = target
        else:
            newest += 1
            home.event("pushed", newest, begin)
            home.run(newest)
            live = newest
        times.append((begin, begin + MINUTE, live, line))
    return times


def test_a_thousand_requests_over_versions_and_rollbacks(home: Home) -> None:
    times = releases(home)
    draw = random.Random(11)
    made: dict[str, tuple[int, int]] = {}
    base = exchange()
    with CaptureHook(home.state.capture, "cabs", CaptureConfig(max_file_bytes=64 << 10)) as hook:
        for _ in range(1000):
            begin, end, version, line = draw.choice(times)
            name = f"{draw.getrandbits(128):032x}"
            made[name] = version, line
            hook.done(
                dataclasses.replace(base, request_id=name, version=version, started=draw.uniform(begin, end - 0.01))
            )
    log = CaptureLog(home.state.capture)
    from serving.ledger import Ledger

    history = standings(Ledger(home.state.ledger).read()[0])
    for name, (version, line) in made.items():
        (captured,) = log.with_request_id(name)
        found = answering(history, version, captured.started)
        assert captured.version == version and captured.metadata.capture.request_id == name
        assert found is not None and (found.standing.line, found.late) == (line, None)
    assert log.damaged == [] and log.with_request_id("f" * 32) == []
    for name in draw.sample(sorted(made), 20):
        version, line = made[name]
        document = trace(find_subject(name, [home.state]))
        (request,) = document["requests"]
        assert (request["request_id"], request["version"], request["release"]["ledger_line"]) == (name, version, line)
        assert document["versions"][0]["model_digest"] == f"{version:064x}"
        assert document["runs"][0]["run_id"] == run_id(version)


def one(home: Home, *exchanges: Exchange) -> dict[str, Any]:
    with CaptureHook(home.state.capture, "cabs", CaptureConfig()) as hook:
        for item in exchanges:
            hook.done(item)
    return trace(find_subject(exchanges[0].request_id, [home.state]))


def test_a_request_and_its_shadow(home: Home) -> None:
    for version in (7, 8):
        home.event("pushed", version, RELEASED + version)
        home.run(version)
    home.event("rollback", 7, RELEASED + 9, from_version=8)
    home.event("shadow", 8, RELEASED + 10, share=0.5)
    base = exchange(1, started=RELEASED + 20)
    values = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    document = one(home, ShadowExchange(**{**values, "version": 8}, of_version=7), base)
    first, second = document["requests"]
    assert (first["release"]["role"], second["release"]["role"]) == ("live", "shadow")
    assert second["release"]["share"] == 0.5 and second["shadow"]["of_version"] == 7
    assert [run["run_id"] for run in document["runs"]] == [run_id(7), run_id(8)]


def test_a_request_that_no_version_answered_and_one_whose_run_is_gone(home: Home) -> None:
    home.event("pushed", 7, RELEASED)
    failed = exchange(3, version=None, response=b"", code=Code.NOT_FOUND, message="no such model")
    document = one(home, failed)
    assert (document["requests"][0]["release"], document["versions"], document["runs"]) == (None, [], [])
    document = one(home, exchange(4, started=RELEASED + 1))
    assert document["runs"] == [{"run_id": run_id(7), "line": "cabs", "facts": "not kept"}]


def test_notes_on_requests_out_of_time(home: Home) -> None:
    home.event("pushed", 7, RELEASED)
    home.event("pushed", 8, RELEASED + 100)
    for second, note in ((100.5, "had yet to follow"), (500, "named the version"), (-3, "the clocks differ")):
        document = one(home, exchange(int(second) + 1000, started=RELEASED + second))
        assert note in document["requests"][0]["release"]["note"]
