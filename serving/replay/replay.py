"""Asks captured requests again, version by version, and says what is not as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from schema.errors import ReleaseError
from serving.capture.document import moment_text
from serving.capture.reader import Captured
from serving.model_server.errors import Code, ServingError
from serving.replay.answerers import Answerer
from serving.replay.answers import Difference, differences, outputs_of, request_rows
from serving.replay.requests import log_with, message_of, why_not

Open = Callable[[int], Answerer]
"""Gives what answers for a version, or raises a ReleaseError."""


@dataclasses.dataclass(frozen=True)
class Redacted:
    """What capture may have kept from records of a version.

    Attributes:
        left_out: columns that are left out.
        hashed: columns that are hashed.
    """

    left_out: Collection[str] = ()
    hashed: Collection[str] = ()


@dataclasses.dataclass
class Replayed:
    """What came of a replay.

    Attributes:
        equal: requests whose answer is the same, byte by byte.
        rows: rows of the requests that were asked again.
        different: requests whose answer is another, each as JSON-ready data.
        skipped: why requests were not asked again to their ids.
        outputs: output key to what its differences come to.
    """

    equal: int = 0
    rows: int = 0
    different: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    skipped: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def skip(self, captured: Captured, reason: str) -> None:
        """Notes a request that was not asked again."""
        self.skipped.setdefault(reason, []).append(captured.metadata.capture.request_id)


def replay(
    records: Iterable[Captured],
    open_version: Open,
    *,
    model: str,
    version: int | None = None,
    redacted: Mapping[int, Redacted] | None = None,
) -> Replayed:
    """Asks captured requests again.

    Args:
        records: the records; copies that went to a shadow are passed over.
        open_version: gives what answers for a version; one at a time is held.
        model: the model's name.
        version: the version to ask, or None for the one that answered.
        redacted: version to what capture may have kept from its records.
    """
    result = Replayed()
    by_version: dict[int, list[Captured]] = {}
    for captured in records:
        if captured.shadow is not None:
            continue
        chosen = version if version is not None else captured.version
        if chosen is None:
            result.skip(captured, "no version answered it (name one with --version)")
        else:
            by_version.setdefault(chosen, []).append(captured)
    for chosen, group in sorted(by_version.items()):
        try:
            answerer = open_version(chosen)
        except ReleaseError as error:
            for captured in group:
                result.skip(captured, str(error.args[0]))
            continue
        try:
            for captured in group:
                hidden = (redacted or {}).get(captured.version if captured.version is not None else chosen, Redacted())
                _one(captured, answerer, model, chosen, hidden, result)
        finally:
            answerer.close()
    return result


def _one(captured: Captured, answerer: Answerer, model: str, version: int, hidden: Redacted, result: Replayed) -> None:
    reason = why_not(captured, hidden.left_out, hidden.hashed, answerer.inputs)
    if reason:
        result.skip(captured, reason)
        return
    try:
        request = message_of(captured, model, version)
        then = outputs_of(captured.log())
    except (DecodeError, ServingError):
        result.skip(captured, "what was captured cannot be read")
        return
    code, message, now = Code.OK, "", {}
    try:
        response = answerer.answer(captured.entrypoint, request, captured.metadata.capture.request_id)
        now = outputs_of(log_with(captured, response))
    except ServingError as error:
        code, message = error.code, error.message
    except DecodeError:
        code, message = Code.INTERNAL, "the answer is no message of its method"
    result.rows += request_rows(captured.log())
    why = []
    found: list[Difference] = []
    if captured.version not in (None, version):
        why.append(f"version {captured.version} answered then, version {version} now")
    if captured.code != code:
        why.append(f"{_ended(captured.code, captured.metadata.capture.message)} then, {_ended(code, message)} now")
    elif code == Code.OK:
        found = differences(then, now)
    if captured.code == code and not found:
        result.equal += 1
        return
    _tally(found, result)
    result.different.append(
        {
            "request_id": captured.metadata.capture.request_id,
            "time": moment_text(captured.started),
            "api": captured.metadata.capture.api,
            "method": captured.entrypoint,
            "version_then": captured.version,
            "version_now": version,
            "why": [*why, *_words(found)],
            "outputs": [difference.to_dict() for difference in found],
        }
    )


def _ended(code: Code, message: str) -> str:
    if code == Code.OK:
        return "an answer"
    return f"the error {code.name}" + (f" ({message.splitlines()[0][:200]})" if message else "")


def _words(found: Iterable[Difference]) -> list[str]:
    words = []
    for one in found:
        if one.kind == "labels":
            words.append(f"{one.output}: other labels: the label vocabulary changed")
        elif one.kind in ("absent now", "absent then"):
            words.append(f"{one.output}: {one.kind}")
        elif one.kind in ("dtype", "shape"):
            words.append(f"{one.output}: another {one.kind}, {one.text}")
        elif one.max_abs is None:
            words.append(f"{one.output}: other texts in {one.rows} rows")
        else:
            cause = " (no more than the order of a sum makes: rows are put together in batches)" if one.rounding else ""
            endless = f", {one.text}" if one.text else ""
            words.append(f"{one.output}: differs by up to {one.max_abs:.3g} in {one.rows} rows{cause}{endless}")
    return words


def _tally(found: Iterable[Difference], result: Replayed) -> None:
    for one in found:
        known = result.outputs.setdefault(
            one.output, {"requests": 0, "rows": 0, "max_abs": None, "only_rounding": True, "kinds": []}
        )
        known["requests"] += 1
        known["rows"] += one.rows
        if one.max_abs is not None:
            known["max_abs"] = max(known["max_abs"] or 0.0, one.max_abs)
        known["only_rounding"] = known["only_rounding"] and one.rounding
        if one.kind not in known["kinds"]:
            known["kinds"].append(one.kind)
