"""Reads the outcome of a run whose nodes all ended well from what the last ones left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.evaluator.results import Evaluation, Finding, read_evaluation
from pipeline.findings import Outputs, read_json
from pipeline.verdict import PushResult, Reason, Verdict, verdict_of_release
from serving import releases


def read_outcome(
    nodes: dict[str, Outputs], *, pusher_cached: bool, ledger: Path
) -> tuple[Verdict, list[dict[str, Any]]]:
    """Returns the verdict and the metrics by slice.

    Args:
        nodes: node id to its output artifacts, as `describe_artifact` gives them.
        pusher_cached: whether the Pusher was answered from the cache: then the model was pushed by an earlier run.
        ledger: the release ledger.
    """
    evaluation = read_evaluation(nodes["Evaluator"]["evaluation"][0]["uri"])
    infra = nodes["InfraValidator"]["blessing"][0]["uri"]
    checks = (read_json(infra, "validation.json") or {}).get("checks", [])
    verdict = verdict_of_release(
        blessed=evaluation.blessed,
        failures=[_reason(finding) for finding in evaluation.failures],
        infra_blessed=(Path(infra) / "INFRA_BLESSED").exists(),
        infra_failures=[
            Reason(f"{check['name']}: {check['detail']}", {"check": check["name"]})
            for check in checks
            if not check["ok"]
        ],
        push=_push_result(nodes["Pusher"]["pushed_model"][0]["properties"], pusher_cached, ledger),
    )
    return verdict, slice_rows(evaluation)


def evaluated_slices(nodes: dict[str, Outputs]) -> list[dict[str, Any]]:
    """Returns the metrics by slice of a run that may not have come as far as the Evaluator."""
    found = nodes.get("Evaluator", {}).get("evaluation")
    return slice_rows(read_evaluation(found[0]["uri"])) if found else []


def slice_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Returns a row a slice: its name, size, metrics, the baseline's metrics, and whether it was too small to judge."""
    return [
        {
            "slice": result.slice,
            "examples": result.examples,
            "too_small": result.too_small,
            "metrics": result.metrics,
            "baseline": result.baseline,
        }
        for result in evaluation.slices
    ]


def _reason(finding: Finding) -> Reason:
    details = {
        "slice": finding.slice,
        "metric": finding.metric,
        "value": finding.value,
        "bound": finding.bound,
        "baseline": finding.baseline,
        "examples": finding.examples,
    }
    return Reason(finding.message, details)


def _push_result(properties: dict[str, Any], cached: bool, ledger: Path) -> PushResult:
    version = int(properties["version"]) if "version" in properties else None
    live = releases.live(ledger)
    is_live = live is not None and live.version == version
    reasons: tuple[Reason, ...] = ()
    if version is not None and live is not None and not is_live:
        reasons = (
            Reason(
                f"this model is version {version}, which was put out of service; version {live.version} stays live. "
                f"`conveyor rollback --to {version}` puts it back",
                {"version": version, "live": live.version},
            ),
        )
    elif not is_live:
        reasons = (Reason(str(properties.get("reason") or "the Pusher pushed nothing")),)
    return PushResult(
        version=version,
        model_digest=properties.get("model_digest"),
        new=bool(properties.get("new")) and is_live and not cached,
        reasons=reasons,
    )
