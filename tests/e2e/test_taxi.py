"""The taxi line on a sample, from a cold start through every verdict; the steps share a state, as a user's runs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.line_runs import Workplace, merge, taxi_rows, write_csv

YEAR_2014 = 1388534400
QUICK: dict[str, Any] = {
    "tuner": {"max_trials": 1, "epochs": 2},
    "trainer": {"epochs": 4, "model": {"hidden_units": [16]}},
    "infra_validator": {"p99_latency_ms": 60_000, "num_examples": 8},
    "evaluator": {"min_slice_size": 40, "thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("taxi")
    rows = [row for row in taxi_rows() if int(row["trip_start_timestamp"]) < YEAR_2014]
    write_csv(folder / "trips.csv", rows)
    return Workplace(folder).shipped("taxi", **merge(QUICK, {"examples": {"input": "trips.csv", "window": None}}))


def states(record: dict[str, Any]) -> dict[str, str]:
    return {node["node"]: node["state"] for node in record["nodes"]}


def change(place: Workplace, **over: Any) -> None:
    path = place.folder / "line.yaml"
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), over), sort_keys=False))


@pytest.fixture(scope="module")
def first(place: Workplace) -> dict[str, Any]:
    return place.run()


def test_cold_run_pushes_a_model(place: Workplace, first: dict[str, Any]) -> None:
    assert first["verdict"]["outcome"] == "pushed"
    assert first["verdict"]["version"] == 1
    assert not first["verdict"]["nothing_new"]
    assert set(states(first).values()) == {"done"}
    slices = {entry["slice"]: entry for entry in first["slices"]}
    assert slices["Overall"]["metrics"]["auc"] > 0.6
    assert "payment_type=Cash" in slices and "payment_type=Credit Card,trip_miles=short" in slices
    assert any(entry["too_small"] for entry in slices.values())
    assert len(first["window"]["spans"]) == 4
    served = place.folder / "state" / "taxi" / "serving_model" / "taxi"
    assert [child.name for child in served.iterdir() if child.name.isdigit()] == ["1"]
    assert (served / "1" / "saved_model.pb").is_file()
    assert (served / "1" / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_unchanged_rerun_is_answered_from_the_cache(place: Workplace, first: dict[str, Any]) -> None:
    again = place.run()
    assert {state for node, state in states(again).items() if node != "baseline"} == {"cached"}
    assert again["verdict"]["nothing_new"] and again["verdict"]["version"] == 1
    assert again["verdict"]["model_digest"] == first["verdict"]["model_digest"]


def test_releases_show_and_runs_tell_of_it(place: Workplace, first: dict[str, Any]) -> None:
    releases = json.loads(place.conveyor("releases", "--json").stdout)
    assert [(r["version"], r["status"], r["run_id"]) for r in releases] == [(1, "live", first["run_id"])]
    shown = json.loads(place.conveyor("show", first["run_id"], "--json").stdout)
    assert shown["verdict"] == first["verdict"]
    assert [run["run_id"] for run in json.loads(place.conveyor("runs", "--json").stdout)][0] == first["run_id"]
    assert "payment_type=Cash" in place.conveyor("show", first["run_id"]).stdout


@pytest.mark.slow
def test_a_new_slice_retrains_nothing(place: Workplace, first: dict[str, Any]) -> None:
    change(place, evaluator={"slicing_specs": [{"feature_keys": ["trip_start_month"]}]})
    record = place.run()
    assert states(record)["Trainer"] == "cached"
    assert states(record)["Evaluator"] == "done"
    assert "trip_start_month=1" in {entry["slice"] for entry in record["slices"]}
    assert record["verdict"]["nothing_new"]


@pytest.mark.slow
def test_missed_threshold_is_not_blessed_with_the_reason(place: Workplace, first: dict[str, Any]) -> None:
    change(place, evaluator={"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.9999}}}})
    record = place.run(expect=3)
    assert record["verdict"]["outcome"] == "not blessed"
    details = record["verdict"]["reasons"][0]["details"]
    assert details["metric"] == "auc" and details["slice"] == "Overall" and details["examples"] > 100
    assert "0.9999" in record["verdict"]["reasons"][0]["text"]
    releases = json.loads(place.conveyor("releases", "--json").stdout)
    assert [r["version"] for r in releases] == [1]
    change(place, evaluator={"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}})


@pytest.mark.slow
def test_too_slow_a_model_is_not_infra_blessed(place: Workplace, first: dict[str, Any]) -> None:
    change(place, infra_validator={"p99_latency_ms": 0.0001})
    record = place.run(expect=5)
    assert record["verdict"]["outcome"] == "not infra-blessed"
    assert "latency" in record["verdict"]["reasons"][0]["text"]
    change(place, infra_validator={"p99_latency_ms": 60_000})


@pytest.mark.slow
def test_new_config_pushes_a_second_version_and_rollback_puts_the_first_back(
    place: Workplace, first: dict[str, Any]
) -> None:
    change(place, trainer={"learning_rate": 0.004}, evaluator={"thresholds": {"auc": {"change_threshold": None}}})
    record = place.run()
    assert record["verdict"]["version"] == 2
    overall = next(entry for entry in record["slices"] if entry["slice"] == "Overall")
    assert overall["baseline"]["auc"] is not None, "the baseline is the model now served"
    compared = json.loads(place.conveyor("compare", first["run_id"], record["run_id"], "--json").stdout)
    assert compared["config"]["trainer.learning_rate"] == [0.002, 0.004]
    back = place.conveyor("rollback", "--reason", "a test", "--json")
    assert back.returncode == 0 and json.loads(back.stdout)["version"] == 1
    served = place.folder / "state" / "taxi" / "serving_model" / "taxi"
    assert [child.name for child in served.iterdir() if child.name.isdigit()] == ["1"]
    unchanged = place.run()
    assert unchanged["verdict"]["nothing_new"]
    assert "version 1 stays live" in unchanged["verdict"]["reasons"][0]["text"]
    forward = place.conveyor("rollback", "--to", "2", "--json")
    assert forward.returncode == 0
    nothing = place.conveyor("rollback", "--to", "9")
    assert nothing.returncode == 1 and "9" in nothing.stderr


@pytest.mark.slow
def test_until_stops_early(place: Workplace, first: dict[str, Any]) -> None:
    record = place.run("--until", "DataGate")
    assert record["verdict"]["outcome"] == "stopped"
    assert "Trainer" not in states(record)
    assert place.conveyor("run", str(place.folder), "--until", "Traner").returncode == 2


def test_second_run_at_the_same_time_is_refused_with_the_pid(place: Workplace, first: dict[str, Any]) -> None:
    from pipeline.state import State

    with State(place.folder / "state" / "taxi", "taxi").locked():
        done = place.conveyor("run", str(place.folder))
    assert done.returncode == 1
    assert "pid" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_bad_rows_beyond_the_share_reject_the_data(tmp_path: Path) -> None:
    rows = taxi_rows()[:600]
    for row in rows[::10]:
        row["fare"] = "a lot"
    write_csv(tmp_path / "trips.csv", rows)
    place = Workplace(tmp_path).shipped("taxi", examples={"input": "trips.csv", "window": None, "allow_gaps": True})
    record = place.run(expect=4)
    assert record["verdict"]["outcome"] == "data rejected"
    text = record["verdict"]["reasons"][0]["text"]
    assert "fare" in text and "trips.csv" in text
    assert list((tmp_path / "state" / "taxi" / "quarantine").glob("*.jsonl"))
    assert set(states(record)) == {"SpanExampleGen"}
