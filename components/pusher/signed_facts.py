"""What a signature says about a release besides the model: the window and the word of those who judged it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.evaluator.results import read_evaluation
from schema.errors import ReleaseError
from serving.signing.statement import EvaluationWord, InfraWord, SignedSpan


def facts(input_dict: dict[str, list[Any]]) -> dict[str, Any]:
    """Returns what `components.pusher.signing.Signer` takes as `more`.

    Args:
        input_dict: the Pusher's input artifacts; the blessings have been looked at.

    Raises:
        ReleaseError: a judge has left no report.
        ConveyorError: likewise.
    """
    return {
        "spans": [_span(artifact) for artifact in _by_span(input_dict.get("examples") or [])],
        "evaluation": _evaluation(input_dict.get("evaluation") or []),
        "infra_validation": _infra(input_dict.get("infra_blessing") or []),
    }


def _by_span(examples: list[Any]) -> list[Any]:
    return sorted(examples, key=lambda artifact: (artifact.span, artifact.version))


def _span(artifact: Any) -> SignedSpan:
    return SignedSpan(
        span=artifact.span,
        version=artifact.version,
        label=artifact.get_string_custom_property("label"),
        fingerprint=artifact.get_string_custom_property("fingerprint"),
        rows=artifact.get_int_custom_property("rows"),
    )


def _evaluation(evaluations: list[Any]) -> EvaluationWord | None:
    if not evaluations:
        return None
    found = read_evaluation(evaluations[0].uri)
    return EvaluationWord(
        blessed=found.blessed,
        metrics=found.slices[0].metrics if found.slices else {},
        not_judged=tuple(finding.message for finding in found.not_judged),
    )


def _infra(blessings: list[Any]) -> InfraWord | None:
    if not blessings:
        return None
    path = Path(blessings[0].uri) / "validation.json"
    try:
        checks = json.loads(path.read_text(encoding="utf-8"))["checks"]
        told = {check["name"]: bool(check["ok"]) for check in checks}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(
            f"{path} must be a report that the InfraValidator wrote. Got {type(error).__name__} instead",
            hint="run the line again",
        ) from None
    return InfraWord(blessed=bool(blessings[0].get_int_custom_property("blessed")), checks=told)
