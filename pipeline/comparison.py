"""What differs between two runs: config keys, data, code, and what that did to the metrics, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.record import RunRecord
from pipeline.snapshot import read_surroundings
from pipeline.sources import Sources

_ABSENT = object()


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one mapping of dotted keys; lists count as values."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def differences(first: Any, second: Any) -> dict[str, tuple[Any, Any]]:
    """Returns the dotted keys whose values differ, with both values; an absent one is None."""
    one, two = flatten(first), flatten(second)
    changed = {}
    for key in sorted({*one, *two}):
        if one.get(key, _ABSENT) != two.get(key, _ABSENT):
            changed[key] = (one.get(key), two.get(key))
    return changed


def compare_runs(
    first: RunRecord, second: RunRecord, first_folder: Path | None = None, second_folder: Path | None = None
) -> dict[str, Any]:
    """Returns what differs between two runs, as JSON-ready data.

    Args:
        first: the record of the one run.
        second: that of the other.
        first_folder: the folder of the one run; with both, source files, packages and variables are compared too.
        second_folder: that of the other.

    Returns:
        `config` and `code`: dotted key to [first, second] (of a source file, the beginning of its SHA-256); `data`:
        `added`, `removed` and `changed` spans by label, and `rows left out` by digest; `metrics`: a row for each slice
        and metric that either run has, with `first`, `second` and `change`.
    """
    spans = [{span["label"]: span["fingerprint"] for span in run.window.get("spans", [])} for run in (first, second)]
    both = spans[0].keys() & spans[1].keys()
    return {
        "runs": [first.run_id, second.run_id],
        "config": {key: list(pair) for key, pair in differences(first.config, second.config).items()},
        "code": {
            **{key: list(pair) for key, pair in differences(first.provenance, second.provenance).items()},
            **(_code(first_folder, second_folder) if first_folder and second_folder else {}),
        },
        "data": {
            "added": sorted(spans[1].keys() - spans[0].keys()),
            "removed": sorted(spans[0].keys() - spans[1].keys()),
            "changed": sorted(label for label in both if spans[0][label] != spans[1][label]),
            "rows left out": _left_out(first, second),
        },
        "metrics": _metric_rows(first, second),
    }


def _left_out(first: RunRecord, second: RunRecord) -> list[str]:
    digests = [(run.exclusions or {}).get("digest") or "none" for run in (first, second)]
    return [] if digests[0] == digests[1] else [f"{digests[0][:12]} -> {digests[1][:12]}"]


def _code(first: Path, second: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    sources = [Sources.read(folder) for folder in (first, second)]
    if sources[0] and sources[1]:
        for path in sorted({*sources[0].files, *sources[1].files}):
            pair = [source.files.get(path, "")[:12] or None for source in sources if source]
            if pair[0] != pair[1]:
                found[f"source {path}"] = pair
    around = [read_surroundings(folder) for folder in (first, second)]
    if all(around):
        for name in ("packages", "variables", "processor"):
            pairs = differences(around[0][name], around[1][name])
            found.update({f"{name} {key}": list(pair) for key, pair in pairs.items()})
    return found


def _metric_rows(first: RunRecord, second: RunRecord) -> list[dict[str, Any]]:
    tables = [{entry["slice"]: entry["metrics"] for entry in run.slices} for run in (first, second)]
    order = list(dict.fromkeys([*tables[0], *tables[1]]))
    rows = []
    for name in order:
        one, two = tables[0].get(name, {}), tables[1].get(name, {})
        for metric in sorted({*one, *two}):
            before, after = one.get(metric), two.get(metric)
            known = isinstance(before, (int, float)) and isinstance(after, (int, float))
            change = after - before if known else None  # type: ignore[operator]
            rows.append({"slice": name, "metric": metric, "first": before, "second": after, "change": change})
    return rows
