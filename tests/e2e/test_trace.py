"""A line run, asked, traced, run without some rows, and asked again: as a user does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.line_runs import Workplace, merge, write_csv
from tests.e2e.test_lines import QUICK, census_rows

OVER = {"evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}}}


def trace(place: Workplace, *args: str) -> dict[str, Any]:
    done = place.conveyor("trace", *args, "--line", "census", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.slow
def test_a_row_is_left_out_and_the_model_is_as_if_it_had_never_been_there(tmp_path: Path) -> None:
    rows = census_rows(1500)
    gone = rows[10:13]
    left = [row for row in rows if row["fnlwgt"] not in {one["fnlwgt"] for one in gone}]
    assert len(left) == len(rows) - 3
    # As another tool may write them: an integer with a point.
    erased = [{"fnlwgt": f"{one['fnlwgt']}.0", "age": one["age"]} for one in gone]

    place = Workplace(tmp_path / "all").shipped("census", **merge(QUICK, OVER))
    write_csv(place.folder / "census.csv", rows)
    first = place.run()
    write_csv(place.folder / "erased.csv", [*erased, {"fnlwgt": "1", "age": 1}])
    second = place.run("--exclude-rows", "erased.csv")
    assert second["exclusions"]["excluded_rows"] == 3 and second["exclusions"]["unmatched"] == 1
    assert second["verdict"]["model_digest"] != first["verdict"]["model_digest"]

    without = Workplace(tmp_path / "without").shipped("census", **merge(QUICK, OVER))
    write_csv(without.folder / "census.csv", left)
    assert without.run()["verdict"]["model_digest"] == second["verdict"]["model_digest"]

    found = trace(place, "--row", f"fnlwgt={gone[0]['fnlwgt']}")
    states = {run["run_id"]: [span["state"] for span in run["spans"]] for run in found["runs"]}
    assert states == {first["run_id"]: ["in"], second["run_id"]: ["excluded"]}
    (run,) = trace(place, "latest")["runs"]
    assert run["facts"] == "kept" and run["exclusions"]["digest"] == second["exclusions"]["digest"]
    assert sum(span["excluded_rows"] for span in run["spans"]) == 3
    assert sum(sum(span["rows"].values()) for span in run["spans"]) == 1497
    kept = [path for path in (place.folder / "state" / "census" / "runs").rglob("*") if path.is_file()]
    assert not any(str(gone[0]["fnlwgt"]) in path.read_text(errors="replace") for path in kept)
    # An unchanged run with the same file does nothing; one without it takes the rows back in.
    again = place.run("--exclude-rows", "erased.csv")
    assert again["verdict"]["nothing_new"] and trace(place, "latest")["runs"][0]["facts"] == "kept"
    assert place.run()["verdict"]["model_digest"] == first["verdict"]["model_digest"]

    done = place.conveyor("run", ".", "--exclude-rows", "nosuch.csv")
    assert done.returncode == 2 and "there is none" in done.stderr
    write_csv(place.folder / "wrong.csv", [{"fnlwgtt": 1}])
    done = place.conveyor("run", ".", "--exclude-rows", "wrong.csv")
    assert done.returncode == 2 and "Did you mean 'fnlwgt'" in done.stdout + done.stderr
