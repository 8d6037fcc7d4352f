"""What is signed of a release: an in-toto Statement v1 about the model, its files and how they came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from schema.base import Handover, canonical_json
from serving.ledger_events import LedgerEvent

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://conveyor.dev/release/v1"


class StatementError(ValueError):
    """A statement does not hold; the message says what of it."""


class Origin(Handover):
    """What a release was made by."""

    config_digest: str
    """SHA-256 of the canonical line config."""
    git_commit: str | None = None
    """The commit, or None where the project is no git checkout."""
    git_dirty: bool = False
    """Whether tracked files differed from it."""
    git_diff_sha256: str | None = None
    """SHA-256 of that difference."""
    lock_sha256: str | None = None
    """SHA-256 of the lock file in use."""


class SignedSpan(Handover):
    """A span of the window that came in."""

    span: int
    """Its number."""
    version: int
    """Its version."""
    label: str
    """What people call it."""
    fingerprint: str
    """Its span fingerprint."""
    rows: int
    """How many rows it has."""


class EvaluationWord(Handover):
    """What the Evaluator said."""

    blessed: bool
    """Whether every threshold that could be judged was met."""
    metrics: dict[str, float | None]
    """The metrics over the whole eval split."""
    not_judged: tuple[str, ...]
    """Thresholds that could not be judged, in words."""


class InfraWord(Handover):
    """What the InfraValidator said."""

    blessed: bool
    """Whether every check passed."""
    checks: dict[str, bool]
    """Check to whether it passed."""


class SignedVerdict(Handover):
    """The verdict of the run, as far as it is known when the model is pushed."""

    outcome: str
    """The verdict in the ledger."""
    evaluation: EvaluationWord | None = None
    """None where no Evaluator was asked."""
    infra_validation: InfraWord | None = None
    """None where no InfraValidator was asked."""


class ReleasePredicate(Handover):
    """The predicate of a release's statement."""

    version: int
    """The model version."""
    run_id: str
    """The run that pushed it."""
    model_digest: str
    """The model digest."""
    origin: Origin
    """What it was made by."""
    spans: tuple[SignedSpan, ...]
    """The window that came in."""
    verdict: SignedVerdict
    """Why it was pushed."""
    ledger: dict[str, Any]
    """The release ledger's entry."""


class Statement(Handover):
    """A statement, taken apart."""

    line: str
    """The line's name."""
    files: dict[str, str]
    """Relative path to SHA-256, of each file of the version."""
    predicate: ReleasePredicate
    """The rest."""

    def payload(self) -> bytes:
        """Returns it as an in-toto Statement, canonical JSON."""
        model = self._model()
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"name": model, "digest": {"sha256": self.predicate.model_digest}},
                    *(
                        {"name": f"{model}/{name}", "digest": {"sha256": digest}}
                        for name, digest in sorted(self.files.items())
                    ),
                ],
                "predicateType": PREDICATE_TYPE,
                "predicate": self.predicate.model_dump(mode="json"),
            }
        ).encode()

    @classmethod
    def from_payload(cls, payload: bytes) -> Statement:
        """Reads what `payload` gave, and nothing else.

        Raises:
            StatementError: it is anything else.
        """
        try:
            document = json.loads(payload)
            if (document["_type"], document["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
                raise StatementError(
                    f"the statement must be a {STATEMENT_TYPE} of {PREDICATE_TYPE}. Got a "
                    f"{document['_type']} of {document['predicateType']} instead"
                )
            model, *files = document["subject"]
            line = model["name"].rpartition("/")[0]
            beginning = model["name"] + "/"
            statement = cls(
                line=line,
                files={file["name"].removeprefix(beginning): file["digest"]["sha256"] for file in files},
                predicate=ReleasePredicate.model_validate(document["predicate"]),
            )
            same = statement.payload() == payload
        except StatementError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            same = False
        if not same:
            raise StatementError("the statement must be one as this version of Conveyor writes it. Got another instead")
        return statement

    def check(self, line: str, event: LedgerEvent) -> None:
        """Checks that it is about a version of a line as the ledger has it.

        Args:
            line: the line's name.
            event: the event that released the version, as the ledger has it now.

        Raises:
            StatementError: names what differs, with both values.
        """
        if self.line != line:
            raise StatementError(f"the statement must be about the line {line}. Got one about {self.line} instead")
        if self.predicate.version != event.version:
            raise StatementError(
                f"the statement must be about version {event.version}. Got one about version "
                f"{self.predicate.version} instead"
            )
        signed, found = self.predicate.ledger, ledger_fields(event)
        for key in sorted(signed.keys() | found.keys()):
            if signed.get(key) != found.get(key):
                raise StatementError(
                    f"{key} of the ledger's entry must be {_shown(signed, key)}, as it was signed. "
                    f"Got {_shown(found, key)} instead"
                )
        for key, said in (("model_digest", self.predicate.model_digest), ("verdict", self.predicate.verdict.outcome)):
            if found.get(key) != said:
                raise StatementError(f"the {key} that was signed must be {found.get(key)!r}. Got {said!r} instead")
        verdict = self.predicate.verdict
        for name, word in (("evaluation", verdict.evaluation), ("infra_validation", verdict.infra_validation)):
            if word is not None and not word.blessed:
                raise StatementError(f"verdict.{name}.blessed must be true. Got false instead")

    def _model(self) -> str:
        return f"{self.line}/{self.predicate.version}"


def ledger_fields(event: LedgerEvent) -> dict[str, Any]:
    """Returns a ledger event as it stands in a statement, keys without a value left out."""
    return event.model_dump(mode="json", exclude_none=True)


def statement_of(
    line: str, event: LedgerEvent, files: Mapping[str, str], origin: Origin, more: Mapping[str, Any]
) -> Statement:
    """Returns the statement about a release.

    Args:
        line: the line's name.
        event: the event that releases it.
        files: relative path to SHA-256.
        origin: what it was made by.
        more: `spans`, `evaluation` and `infra_validation`.
    """
    return Statement(
        line=line,
        files=dict(files),
        predicate=ReleasePredicate(
            version=event.version or 0,
            run_id=event.run_id or "",
            model_digest=event.model_digest or "",
            origin=origin,
            spans=tuple(more["spans"]),
            verdict=SignedVerdict(
                outcome=event.verdict or "",
                evaluation=more.get("evaluation"),
                infra_validation=more.get("infra_validation"),
            ),
            ledger=ledger_fields(event),
        ),
    )


def _shown(fields: Mapping[str, Any], key: str) -> str:
    return repr(fields[key])[:200] if key in fields else "nothing"
