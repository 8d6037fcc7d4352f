"""Which release put a version in front of requests at a moment."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from serving.ledger_events import LedgerEvent
from serving.standing import Standing, answering, seconds_of, standings

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def at(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat(timespec="milliseconds")


def event(kind: Any, version: int, second: float, **more: Any) -> LedgerEvent:
    made = {"run_id": f"run-{version}", "model_digest": f"digest-{version}"} if kind == "pushed" else {}
    return LedgerEvent(event=kind, version=version, who="ops", when=at(second), **made, **more)


EVENTS = [
    event("pushed", 1, 0),
    event("pushed", 2, 10),
    event("rollback", 1, 20, from_version=2),
    event("canary", 2, 30, from_version=1, share=0.1),
    event("canary", 2, 40, from_version=1, share=0.5),
    event("promoted", 2, 50),
    event("shadow", 1, 60, share=1.0),
    event("rollback", 1, 70, from_version=2),
]


def text(standing: Standing) -> tuple[Any, ...]:
    base = seconds_of(at(0))
    until = None if standing.until is None else standing.until - base
    return standing.version, standing.role, standing.share, standing.event.event, standing.since - base, until


def test_every_standing_of_every_version() -> None:
    assert [text(standing) for standing in standings(EVENTS)] == [
        (1, "live", None, "pushed", 0, 10),
        (2, "live", None, "pushed", 10, 20),
        (1, "live", None, "rollback", 20, 50),
        (2, "canary", 0.1, "canary", 30, 40),
        (2, "canary", 0.5, "canary", 40, 50),
        (2, "live", None, "promoted", 50, 70),
        (1, "shadow", 1.0, "shadow", 60, 70),
        (1, "live", None, "rollback", 70, None),
    ]


@pytest.mark.parametrize(
    ("version", "second", "line", "late"),
    [
        (1, 0, 1, None),
        (1, 9.999, 1, None),
        (2, 10, 2, None),
        (1, 10.5, 1, 0.5),
        (2, 25, 2, 5),
        (1, 35, 3, None),
        (2, 35, 4, None),
        (2, 55, 6, None),
        (1, 65, 7, None),
        (1, 1000, 8, None),
        (2, 1000, 6, 930),
        (2, 5, 2, -5),
    ],
)
def test_which_one_answered(version: int, second: float, line: int, late: float | None) -> None:
    found = answering(standings(EVENTS), version, seconds_of(at(second)))
    assert found is not None and found.standing.line == line
    assert found.late == (late if late is None else pytest.approx(late, abs=1e-3))


def test_a_version_that_never_stood() -> None:
    assert answering(standings(EVENTS), 3, seconds_of(at(5))) is None
