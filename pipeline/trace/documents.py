"""What a trace says, as JSON-ready data: requests with their releases, versions, runs and spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.record import RunRecord, load, load_all, run_folder
from pipeline.state import State
from pipeline.trace.kept import facts_of
from pipeline.trace.subject import Subject
from schema.errors import UsageError
from serving import releases
from serving.capture.document import document_of, moment_text
from serving.capture.reader import Captured, CaptureLog
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.standing import Answering, Standing, answering, standings

Document = dict[str, Any]
_PROVENANCE = ("git_commit", "git_dirty", "git_diff_sha256", "lock_sha256", "python", "libraries")
_AT_MOST_LATE = 10.0
"""Seconds within which a server has followed the ledger, by far."""


def trace(subject: Subject) -> Document:
    """Returns everything that leads to something and from it.

    Returns:
        `what` (kind, value, line); `requests`, each with its `release`; `versions`; `runs`; for a span `span`; and
        `damaged`, places in capture files that could not be read.

    Raises:
        UsageError: the request is not captured any more.
        ReleaseError: the release ledger is damaged.
    """
    makers = {"request": _of_request, "version": _of_version, "span": _of_span, "run": _of_run}
    document: Document = {
        "what": {"kind": subject.kind, "value": subject.value, "line": subject.state.line},
        "requests": [],
        "damaged": [],
        **makers[subject.kind](subject),
    }
    return document


def _of_request(subject: Subject) -> Document:
    state = subject.state
    log = CaptureLog(state.capture)
    found = log.with_request_id(subject.value)
    if not found:
        raise UsageError(f"request {subject.value!r} must be captured. Got none in {state.capture} instead")
    events, _ = Ledger(state.ledger).read()
    history = standings(events)
    versions = sorted({captured.version for captured in found if captured.version is not None})
    documents = [version_document(state, version, events, history) for version in versions]
    return {
        "requests": [
            {**document_of(captured), "release": release_of_request(captured, history)} for captured in found
        ],  # fmt: skip
        "versions": documents,
        "runs": _runs_of(state, documents),
        "damaged": [{"file": str(d.path), "offset": d.offset, "reason": d.reason} for d in log.damaged],
    }


def _of_version(subject: Subject) -> Document:
    state, version = subject.state, subject.number
    events, _ = Ledger(state.ledger).read()
    document = version_document(state, version, events, standings(events))
    counted = CaptureLog(state.capture).count_by_day(version)
    document["answered"] = {day: count for day, count in counted.items() if count}
    return {"versions": [document], "runs": _runs_of(state, [document])}


def _of_run(subject: Subject) -> Document:
    state = subject.state
    runs = [run for run in load_all(state) if run.run_id == subject.value]
    events, _ = Ledger(state.ledger).read()
    history = standings(events)
    versions = sorted({version for run in runs for version in versions_of(run, events)})
    return {
        "versions": [version_document(state, version, events, history) for version in versions],
        "runs": [run_document(state, run) for run in runs],
    }


def _of_span(subject: Subject) -> Document:
    state, number = subject.state, subject.number
    events, _ = Ledger(state.ledger).read()
    history = standings(events)
    appearances = []
    versions: set[int] = set()
    for run in load_all(state):
        document = run_document(state, run)
        for span in document["spans"]:
            if span["span"] == number:
                own = versions_of(run, events)
                versions |= own
                appearances.append(
                    {
                        **span,
                        "run_id": run.run_id,
                        "started": run.started,
                        "outcome": (run.verdict or {}).get("outcome"),
                        "versions": sorted(own),
                        "gate": _gate_of_span(document["gate"], number),
                        "facts": document["facts"],
                    }
                )
    fingerprints = list(dict.fromkeys(one["fingerprint"] for one in appearances))
    return {
        "span": {
            "span": number,
            "label": appearances[-1]["label"],
            "fingerprints": fingerprints,
            "appearances": appearances,
        },
        "versions": [version_document(state, version, events, history) for version in sorted(versions)],
        "runs": [],
    }


def _gate_of_span(gate: Document | None, number: int) -> Document | None:
    if gate is None:
        return None
    spans = [span for span in gate["spans"] if span["span"] == number]
    decisions = [decision for decision in gate["decisions"] if decision["span"] == number]
    return {**(spans[0] if spans else {}), "verdict": gate["verdict"], "decisions": decisions}


def versions_of(run: RunRecord, events: Iterable[LedgerEvent]) -> set[int]:
    """Returns the versions that a run pushed, and the one that it found to be its model already."""
    pushed = {e.version for e in events if e.event == "pushed" and e.run_id == run.run_id and e.version is not None}
    named = (run.verdict or {}).get("version")
    return pushed | ({int(named)} if named is not None else set())


def _runs_of(state: State, versions: Sequence[Document]) -> list[Document]:
    """Returns the runs that made versions; one whose record is gone says so."""
    documents = []
    for run_id in dict.fromkeys(version["run_id"] for version in versions if version["run_id"]):
        file = run_folder(state, run_id) / "run.json"
        if not file.is_file():
            documents.append({"run_id": run_id, "line": state.line, "facts": "not kept"})
            continue
        documents.append(run_document(state, load(file)))
    return documents


def run_document(state: State, run: RunRecord) -> Document:
    """Returns a run: verdict, identities, spans, the gate's decisions, the tuner's choice and the training."""
    facts, source = facts_of(state, run)
    known = {span["span"]: span for span in facts["spans"] or ()}
    acted = {span["span"]: span for span in (facts["gate"] or {}).get("spans", ())}
    spans = []
    for span in run.window.get("spans", ()):
        number = span["span"]
        more = {key: known.get(number, {}).get(key) for key in ("rows", "bad_rows", "unlabelled_rows", "excluded_rows")}
        gate = {key: acted.get(number, {}).get(key) for key in ("action", "quarantined_rows")}
        identity = {key: span.get(key) for key in ("span", "version", "label", "fingerprint")}
        spans.append({**identity, **more, **gate, "files": [file["path"] for file in span.get("files", ())]})
    return {
        "run_id": run.run_id,
        "line": run.line,
        "started": run.started,
        "finished": run.finished,
        "seconds": run.seconds,
        "verdict": run.verdict,
        "config_digest": run.config_digest,
        "inputs_digest": run.inputs_digest,
        **{key: run.provenance.get(key) for key in _PROVENANCE},
        "schema": {"curated": facts["curated_schema"], "used": (facts["schema"] or {}).get("digest"),
                   "source": (facts["schema"] or {}).get("source")},
        "spans": spans,
        "exclusions": run.exclusions,
        "gate": facts["gate"],
        "tuner": facts["tuner"],
        "training": facts["training"],
        "facts": source,
    }  # fmt: skip


def version_document(
    state: State, version: int, events: Sequence[LedgerEvent], history: Sequence[Standing]
) -> Document:
    """Returns a version: digest, run, what the ledger says of it, and when it had which role."""
    pushed = next((e for e in events if e.event == "pushed" and e.version == version), None)
    status = next((r.status for r in releases.table(state.ledger) if r.version == version), None)
    return {
        "version": version,
        "status": status,
        "model_digest": pushed.model_digest if pushed else None,
        "run_id": pushed.run_id if pushed else None,
        "pushed": _event(pushed) if pushed else None,
        "events": [_event(event) for event in events if version in (event.version, event.from_version)],
        "standings": [_standing(standing) for standing in history if standing.version == version],
    }


def release_of_request(captured: Captured, history: Sequence[Standing]) -> Document | None:
    """Returns the release by which the version that answered a request stood where it stood; None without one."""
    if captured.version is None:
        return None
    found = answering(history, captured.version, captured.started)
    if found is None:
        return None
    return {**_standing(found.standing), "note": _note(found)}


def _note(found: Answering) -> str:
    if found.late is None:
        return ""
    if found.late < 0:
        return f"the request came {-found.late:.3f} s before: the clocks differ"
    if found.late <= _AT_MOST_LATE:
        return f"the release had ended {found.late:.3f} s before: the server had yet to follow the ledger"
    return f"the release had ended {found.late:.0f} s before: the request named the version"


def _event(event: LedgerEvent) -> Document:
    return event.model_dump(mode="json", exclude_none=True)


def _standing(standing: Standing) -> Document:
    return {
        "version": standing.version,
        "role": standing.role,
        "share": standing.share,
        "event": _event(standing.event),
        "ledger_line": standing.line,
        "since": moment_text(standing.since),
        "until": None if standing.until is None else moment_text(standing.until),
        "ended_by": None if standing.ended_by is None else _event(standing.ended_by),
    }
