"""`conveyor gc` on real runs: what is served stays as it is, what went is made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.line_runs import Workplace, merge, write_csv
from tests.e2e.test_lines import QUICK, census_rows

OVER: dict[str, Any] = {
    "examples": {"input": "people.csv"},
    "retention": {"runs_days": 0, "keep_runs": 1, "served_days": 0, "label_days": 0},
}


def place_of(folder: Path, seed: int, auc: float = 0.2) -> Workplace:
    """Returns the line with a seed, and with what its model must reach."""
    bound = {"value_threshold": {"lower_bound": auc}, "change_threshold": {"absolute": -0.9}}
    over = {"seed": seed, "evaluator": {"thresholds": {"auc": bound}}}
    return Workplace(folder).shipped("census", **merge(merge(QUICK, OVER), over))


def gc(place: Workplace, *options: str) -> dict[str, Any]:
    done = place.conveyor("gc", str(place.folder), "--json", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def model_of(record: dict[str, Any]) -> Path:
    trainer = next(node for node in record["nodes"] if node["node"] == "Trainer")
    return Path(trainer["outputs"]["model"][0]["uri"])


def states_of(record: dict[str, Any]) -> dict[str, str]:
    return {node["node"]: node["state"] for node in record["nodes"]}


def predictions(place: Workplace, name: str) -> list[str]:
    done = place.conveyor("batch", str(place.folder), "--input", "people.csv", "--output", name, "--format", "parquet")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((place.folder / name / "manifest.json").read_text())
    return [file["sha256"] for part in manifest["parts"] for file in part["files"]]


@pytest.mark.slow
def test_collected_between_runs(tmp_path: Path) -> None:
    write_csv(tmp_path / "people.csv", census_rows(500))
    first = place_of(tmp_path, seed=1).run()
    rejected = place_of(tmp_path, seed=2, auc=0.9999).run(expect=3)
    place = place_of(tmp_path, seed=3)
    live = place.run()
    assert [record["verdict"].get("version") for record in (first, live)] == [1, 2]
    before = predictions(place, "before")
    everything = sorted(tmp_path.rglob("*"))

    planned = gc(place, "--dry-run")
    assert sorted(tmp_path.rglob("*")) == everything
    gone = {item["path"] for item in planned["removed"]}
    assert str(model_of(rejected)) in gone and planned["freed_bytes"] > 10_000
    done = gc(place)
    assert {item["path"] for item in done["removed"]} == gone
    assert not any(Path(path).exists() for path in gone)
    assert model_of(first).is_dir() and model_of(live).is_dir()

    assert predictions(place, "after") == before
    shown = place.conveyor("show", rejected["run_id"])
    assert shown.returncode == 0 and "not blessed" in shown.stdout, shown.stderr
    again = place.run()
    assert again["verdict"]["outcome"] == "pushed" and again["verdict"]["nothing_new"]
    back = place.conveyor("rollback", "census")
    assert back.returncode == 0 and "version 1 is live again" in back.stdout

    # What went is made again and not taken from the cache; what is kept is.
    anew = place_of(tmp_path, seed=2, auc=0.9999).run(expect=3)
    states = states_of(anew)
    assert states["SpanExampleGen"] == states["Transform"] == "cached"
    assert states["Trainer"] == "done"
    assert (model_of(anew) / "Format-Serving" / "saved_model.pb").is_file()
    assert model_of(anew) != model_of(rejected)
    assert gc(place)["missing"] == []
