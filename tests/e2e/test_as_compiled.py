"""The proof that a compiled line is the line: its JSON, executed step by step, pushes the model of a local run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.line_runs import Workplace, merge, taxi_rows, write_csv
from tests.e2e.test_lines import QUICK, census_rows

OVER = {"evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}}}


@pytest.mark.slow
def test_a_run_as_compiled_pushes_the_same_model_and_the_next_one_finds_it_live(tmp_path: Path) -> None:
    digests = {}
    for name, args in (("local", ()), ("compiled", ("--as-compiled",))):
        write_csv(tmp_path / name / "census.csv", census_rows(1500))
        place = Workplace(tmp_path / name).shipped("census", **merge(QUICK, OVER))
        record = place.run(*args)
        assert record["verdict"]["outcome"] == "pushed"
        digests[name] = record["verdict"]["model_digest"]
    assert digests["compiled"] == digests["local"]
    run = place.folder / "state" / "census" / "runs" / record["run_id"]
    job = json.loads((run / "pipeline_job.json").read_text(encoding="utf-8"))
    assert [node["node"] for node in record["nodes"]].index("Trainer") > 0
    assert {node["node"] for node in record["nodes"]} == set(job["pipelineSpec"]["root"]["dag"]["tasks"])
    # With a schedule the first step finds the window; custom jobs would need a cloud.
    by_schedule = {
        "orchestration": {
            "schedule": {"cron": "0 5 * * *"},
            "custom_jobs": {"Trainer": {"machine_type": "n1-standard-8"}},
        }
    }
    place.shipped("census", **merge(merge(QUICK, OVER), by_schedule))
    again = place.run("--as-compiled")
    job_text = (run.with_name(again["run_id"]) / "pipeline_job.json").read_text(encoding="utf-8")
    assert "selection" in job_text and "--custom_job" not in job_text
    assert (again["verdict"]["outcome"], again["verdict"]["version"]) == ("pushed", record["verdict"]["version"])
    assert again["verdict"]["model_digest"] == digests["local"]
    assert {node["state"] for node in again["nodes"]} == {"done"}, "every step is done anew"


@pytest.mark.slow
def test_rejected_data_ends_a_run_as_compiled_like_any_other(tmp_path: Path) -> None:
    rows = taxi_rows()[:600]
    for row in rows[::10]:
        row["fare"] = "a lot"
    write_csv(tmp_path / "trips.csv", rows)
    place = Workplace(tmp_path).shipped("taxi", examples={"input": "trips.csv", "window": None, "allow_gaps": True})
    record = place.run("--as-compiled", expect=4)
    assert record["verdict"]["outcome"] == "data rejected"
    assert "fare" in json.dumps(record["verdict"]["reasons"])
    assert [node["state"] for node in record["nodes"]] == ["failed"]
