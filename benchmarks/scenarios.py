"""The scenarios: what is run, interleaved, and what comes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks import taxi_table
from benchmarks.commands import ROOT, Measured, measure, median

NEWEST_BUT_ONE = "2016Q3"
Say = Callable[[str], None]


def conveyor(folder: Path, name: str, *args: str) -> Measured:
    """Measures one conveyor command with its state under `folder`."""
    return measure(["-m", "conveyor", *args], env={"CONVEYOR_HOME": str(folder / "state")}, log=folder / f"{name}.log")


def against_native(folder: Path, rounds: int, say: Say) -> dict[str, Any]:
    """Measures `conveyor run taxi` against TFX's own example, and its second run, and one with a new span.

    A round is: TFX's example cold, ours cold, ours again, ours with all but the newest span (not counted), then with
    it. Each starts from an empty folder, in the same environment.
    """
    measured: dict[str, list[Measured]] = {"native": [], "cold": [], "again": [], "new_span": []}
    auc = 0.0
    for number in range(rounds):
        place = folder / f"round-{number}"
        shutil.rmtree(place, ignore_errors=True)
        script = str(ROOT / "benchmarks" / "native_keras.py")
        say(f"round {number + 1} of {rounds}: TFX's taxi_pipeline_native_keras")
        measured["native"].append(measure([script, str(place / "native")], env={}, log=place / "native.log"))
        say(f"round {number + 1} of {rounds}: conveyor run taxi, cold, then again")
        measured["cold"].append(conveyor(place / "whole", "cold", "run", "taxi", "--json"))
        measured["again"].append(conveyor(place / "whole", "again", "run", "taxi", "--json"))
        auc = _overall(place / "whole" / "again.log", "auc")
        say(f"round {number + 1} of {rounds}: conveyor run taxi, one new span")
        conveyor(place / "grown", "before", "run", "taxi", "--span", NEWEST_BUT_ONE, "--json")
        measured["new_span"].append(conveyor(place / "grown", "new_span", "run", "taxi", "--json"))
        shutil.rmtree(place / "native", ignore_errors=True)
    return {
        "seconds": {name: [round(m.seconds, 2) for m in runs] for name, runs in measured.items()},
        "median": {name: round(median([m.seconds for m in runs]), 2) for name, runs in measured.items()},
        "peak_mib": {name: round(median([m.peak_mib for m in runs])) for name, runs in measured.items()},
        "auc": auc,
    }


def _overall(log: Path, metric: str) -> float:
    overall = next(entry for entry in _record(log)["slices"] if entry["slice"] == "Overall")
    return float(overall["metrics"][metric])


def census(folder: Path, table: Path, say: Say) -> dict[str, Any]:
    """Measures `census` on the table and returns its AUC."""
    say("conveyor run census")
    shutil.rmtree(folder, ignore_errors=True)
    line = shipped_line(folder, "census", examples={"input": str(table.resolve())})
    cost = conveyor(folder, "census", "run", str(line), "--json")
    return {"seconds": round(cost.seconds, 2), "auc": _overall(folder / "census.log", "auc")}


def large(folder: Path, counts: list[int], say: Say) -> dict[str, Any]:
    """Measures ingest, statistics, validation and transform of resampled taxi trips."""
    results: dict[str, Any] = {}
    for count in counts:
        place = folder / str(count)
        line = large_line(place, count, say)
        cost, record = _cold_run(place, line, say, "--until", "Transform")
        results[str(count)] = {
            "seconds": round(cost.seconds, 2),
            "microseconds_a_row": round(1e6 * cost.seconds / count, 1),
            "peak_mib": round(cost.peak_mib),
            "components": {node["node"]: node["seconds"] for node in record["nodes"]},
        }
        shutil.rmtree(place, ignore_errors=True)
    return results


def large_line(place: Path, count: int, say: Say, **sections: dict[str, Any]) -> Path:
    """Writes a table of resampled trips and the line for it into a new folder, and returns the line's file."""
    shutil.rmtree(place, ignore_errors=True)
    say(f"writing {count:,} rows")
    table = taxi_table.write(place / "trips.csv", count)
    return shipped_line(place, "taxi", examples={"input": str(table)}, **sections)


def _cold_run(place: Path, line: Path, say: Say, *args: str) -> tuple[Measured, dict[str, Any]]:
    say(" ".join(("conveyor run", *args, "in", str(place))))
    cost = conveyor(place, "run", "run", str(line), *args, "--json")
    return cost, _record(place / "run.log")


def _record(log: Path) -> dict[str, Any]:
    text = log.read_text(encoding="utf-8", errors="replace")
    # The log holds stderr too; the document starts at the first line that is a lone brace.
    record: dict[str, Any] = json.JSONDecoder().raw_decode(text[text.index("{\n") :])[0]
    return record


SHORT_TRAINING: dict[str, dict[str, Any]] = {
    "tuner": {"max_trials": 1, "epochs": 1},
    "trainer": {"epochs": 1},
    "infra_validator": {"p99_latency_ms": 60_000.0},
    "evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.5}}}},
}
"""One epoch of one trial and one of the model: a time for a row and epoch, which a real run multiplies."""


def scaling(folder: Path, counts: list[int], whole_up_to: int, say: Say) -> dict[str, Any]:
    """Measures every component on resampled taxi trips, from an empty folder.

    Args:
        folder: where to work.
        counts: how many rows.
        whole_up_to: up to so many rows the whole line is run, above it as far as Transform.
        say: is told what goes on.
    """
    results: dict[str, Any] = {}
    for count in counts:
        place = folder / str(count)
        line = large_line(place, count, say, **SHORT_TRAINING)
        until = [] if count <= whole_up_to else ["--until", "Transform"]
        cost, record = _cold_run(place, line, say, *until)
        table = place / "trips.csv"
        results[str(count)] = {
            "seconds": round(cost.seconds, 1),
            "peak_mib": round(cost.peak_mib),
            "input_mib": round(table.stat().st_size / 2**20),
            "outcome": record["verdict"]["outcome"],
            "components": {n["node"]: n["seconds"] for n in record["nodes"] if n["state"] == "done"},
        }
        if not until:
            say(f"conveyor batch on {count:,} rows")
            out = str(place / "predictions")
            batch = conveyor(place, "batch", "batch", str(line), "--input", str(table), "--output", out, "--json")
            results[str(count)]["components"]["conveyor batch (whole process)"] = round(batch.seconds, 1)
        shutil.rmtree(place, ignore_errors=True)
    return results


def shipped_line(folder: Path, name: str, **sections: dict[str, Any]) -> Path:
    """Writes a line that comes with the project below a folder, with keys of some sections set otherwise."""
    config = yaml.safe_load((ROOT / "data" / name / "line.yaml").read_text(encoding="utf-8"))
    config["schema"]["file"] = str((ROOT / "data" / name / config["schema"]["file"]).resolve())
    for section, keys in sections.items():
        config[section] = {**config.get(section, {}), **keys}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "line.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path
