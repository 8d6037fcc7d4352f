"""What is to be traced: the text that a user gave, made a request, a version, a span or a run of a line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from pipeline.record import RunRecord, load_all
from pipeline.state import State
from schema.errors import UsageError
from serving.capture.reader import CaptureLog
from serving.ledger import Ledger

Kind = Literal["request", "version", "span", "run"]
KINDS: tuple[Kind, ...] = ("request", "version", "span", "run")

_RUN_ID = re.compile(r"\d{8}T\d*(\.\d*)?(Z(-[0-9a-f]*)?)?")


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something that can be traced.

    Attributes:
        kind: what it is.
        value: the request id, the version, the number of the span, or the run id.
        state: the line's state.
    """

    kind: Kind
    value: str
    state: State

    @property
    def number(self) -> int:
        """The version, or the number of the span."""
        return int(self.value)


def find_subject(what: str, states: Sequence[State]) -> Subject:
    """Finds out what a text names.

    A model version is an integer or `v3`, a span a label or a number, a run an id or its beginning. What is none of
    them is a request id. `version:`, `span:`, `run:` and `request:` in front say which is meant.

    Args:
        what: the text.
        states: the lines to look at.

    Raises:
        UsageError: it names nothing, or more than one thing.
        ReleaseError: a release ledger is damaged.
    """
    prefix, colon, rest = what.partition(":")
    kinds: tuple[Kind, ...] = ("version", "span", "run")
    text = what
    if colon and prefix in KINDS:
        kinds, text = (prefix,), rest  # type: ignore[assignment]
    if not text:
        raise UsageError(f"WHAT must not be empty. Got {what!r} instead")
    if re.search("[\ud800-\udfff]", text):
        raise UsageError("WHAT must be UTF-8 text. Got other bytes instead")
    found: list[Subject] = []
    for state in states:
        runs = load_all(state) if {"span", "run"} & set(kinds) else []
        if "version" in kinds:
            found += _versions(text, state)
        if "span" in kinds:
            found += _spans(text, state, runs)
        if "run" in kinds:
            found += _runs(text, state, runs)
    if not found and (kinds == ("request",) or not colon or prefix not in KINDS):
        found = [
            Subject("request", text, state)
            for state in states
            if CaptureLog(state.capture).with_request_id(text)
        ]  # fmt: skip
    if len(found) == 1:
        return found[0]
    if not found:
        raise _nothing(what, text, kinds, states)
    raise _several(what, text, found)


def _versions(text: str, state: State) -> list[Subject]:
    match = re.fullmatch(r"v?(\d{1,18})", text)
    if match is None or int(match[1]) not in Ledger(state.ledger).state().entries:
        return []
    return [Subject("version", str(int(match[1])), state)]


def _spans(text: str, state: State, runs: Sequence[RunRecord]) -> list[Subject]:
    numbers = {int(span["span"]): str(span["label"]) for run in runs for span in run.window.get("spans", [])}
    labelled = [number for number, label in numbers.items() if label.casefold() == text.casefold()]
    if not labelled and re.fullmatch(r"-?\d{1,18}", text) and int(text) in numbers:
        labelled = [int(text)]
    return [Subject("span", str(number), state) for number in labelled]


def _runs(text: str, state: State, runs: Sequence[RunRecord]) -> list[Subject]:
    if text == "latest":
        return [Subject("run", run.run_id, state) for run in runs[-1:]]
    if _RUN_ID.fullmatch(text) is None:
        return []
    return [Subject("run", run.run_id, state) for run in runs if run.run_id.startswith(text)]


def _several(what: str, text: str, found: Sequence[Subject]) -> UsageError:
    shown = ", ".join(f"{one.kind}:{one.value} of line {one.state.line}" for one in found[:6])
    kinds = sorted({one.kind for one in found})
    if len(kinds) > 1:
        hint = "say which is meant: " + " or ".join(f"conveyor trace {kind}:{text}" for kind in kinds)
    elif len({one.state.line for one in found}) > 1:
        hint = "name the line with --line"
    else:
        hint = "name it in full"
    return UsageError(f"WHAT must name one thing. Got {what!r} instead, which is {shown}", hint=hint)


def _nothing(what: str, text: str, kinds: Sequence[Kind], states: Sequence[State]) -> UsageError:
    looked = "; ".join(_known(state, kinds) for state in states[:3]) or "no line has been run yet"
    return UsageError(
        f"WHAT must be a captured request's id, a model version, a span or a run. Got {what!r} instead; {looked}",
        hint="conveyor releases, conveyor runs and conveyor logs LINE show what there is; CONVEYOR_HOME says where",
    )


def _known(state: State, kinds: Sequence[Kind]) -> str:
    runs = load_all(state)
    labels = list(dict.fromkeys(str(span["label"]) for run in runs for span in run.window.get("spans", [])))
    versions = [str(version) for version in Ledger(state.ledger).state().entries]
    known = {"version": versions, "span": labels, "run": [run.run_id for run in runs]}
    parts = [f"{kind}s {', '.join(known[kind][-5:]) or 'none'}" for kind in kinds if kind in known]
    return f"line {state.line} has " + (", ".join(parts) or f"its captured requests in {state.capture}")
