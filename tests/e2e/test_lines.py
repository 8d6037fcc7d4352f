"""Every line that comes with the project, and a table that nobody has prepared, end to end on a sample."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.line_runs import Workplace, merge, taxi_rows, write_csv

YEAR_2014 = 1388534400
QUICK: dict[str, Any] = {
    "tuner": {"max_trials": 1, "epochs": 1},
    "trainer": {"epochs": 3, "model": {"hidden_units": [16]}},
    "infra_validator": {"p99_latency_ms": 60_000, "num_examples": 8},
    "evaluator": {"min_slice_size": 40},
}


def census_rows(count: int) -> list[dict[str, Any]]:
    """Returns rows with the census table's columns, drawn so that the label can be learned."""
    draw = random.Random(7)
    married = ["Married-civ-spouse", "Never-married", "Divorced", "Separated", "Widowed"]
    rows = []
    for _ in range(count):
        marital, age, years = draw.choice(married), draw.randint(17, 90), draw.randint(1, 16)
        score = (marital == married[0]) + (years - 8) / 4 + (age - 35) / 40 + draw.gauss(0, 0.4)
        rows.append(
            {
                "age": age,
                "type_employer": draw.choice(["Private", "State-gov", "Self-emp-not-inc"]),
                "fnlwgt": draw.randint(20_000, 400_000),
                "education": "HS-grad",
                "education_num": years,
                "marital": marital,
                "occupation": draw.choice(["Sales", "Craft-repair", "Exec-managerial"]),
                "relationship": draw.choice(["Husband", "Not-in-family", "Wife"]),
                "race": draw.choice(["White", "Black"]),
                "sex": draw.choice(["Male", "Female"]),
                "capital_gain": draw.choice([0, 0, 0, 5178]),
                "capital_loss": draw.choice([0, 0, 0, 1902]),
                "hr_per_week": draw.randint(10, 80),
                "country": draw.choice(["United-States", "Mexico"]),
                "income": ">50K" if score > 0.9 else "<=50K",
            }
        )
    return rows


@pytest.mark.slow
def test_taxi_payment(tmp_path: Path) -> None:
    write_csv(tmp_path / "trips.csv", [r for r in taxi_rows() if int(r["trip_start_timestamp"]) < YEAR_2014])
    over = {
        "examples": {"input": "trips.csv", "window": None},
        "evaluator": {"thresholds": {"accuracy": {"value_threshold": {"lower_bound": 0.5}}}},
    }
    record = Workplace(tmp_path).shipped("taxi-payment", **merge(QUICK, over)).run()
    assert record["verdict"]["outcome"] == "pushed"
    overall = record["slices"][0]["metrics"]
    assert overall["accuracy"] > 0.5
    assert any("macro" in name for name in overall), sorted(overall)
    assert any("Credit Card" in name for name in overall), "metrics of each class go by the class's name"


@pytest.mark.slow
def test_taxi_fare(tmp_path: Path) -> None:
    write_csv(tmp_path / "trips.csv", [r for r in taxi_rows() if int(r["trip_start_timestamp"]) < YEAR_2014])
    over = {
        "examples": {"input": "trips.csv", "window": None},
        "evaluator": {"thresholds": {"root_mean_squared_error": {"value_threshold": {"upper_bound": 20.0}}}},
    }
    record = Workplace(tmp_path).shipped("taxi-fare", **merge(QUICK, over)).run()
    assert record["verdict"]["outcome"] == "pushed"
    metrics = record["slices"][0]["metrics"]
    assert 0 < metrics["mean_absolute_error"] < metrics["root_mean_squared_error"] < 20.0


@pytest.mark.slow
def test_census(tmp_path: Path) -> None:
    write_csv(tmp_path / "census.csv", census_rows(2500))
    over = {"evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.7}}}}}
    record = Workplace(tmp_path).shipped("census", **merge(QUICK, over)).run()
    assert record["verdict"]["outcome"] == "pushed"
    names = {entry["slice"] for entry in record["slices"]}
    assert {"marital=Married-civ-spouse", "age=young", "race=Black"} <= names
    assert any(name.startswith("fairness_indicators_metrics") for name in record["slices"][0]["metrics"])


@pytest.mark.slow
def test_a_table_that_nobody_prepared(tmp_path: Path) -> None:
    write_csv(tmp_path / "people.csv", census_rows(2500))
    place = Workplace(tmp_path)
    made = place.conveyor("init", "people.csv", "--label", "income", "--out", "line", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)
    done = place.conveyor("run", "line", "--json")
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    assert json.loads(done.stdout)["verdict"]["outcome"] == "pushed"


@pytest.mark.slow
def test_two_runs_in_two_folders_make_the_same_model(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        write_csv(tmp_path / name / "census.csv", census_rows(1500))
        over = {"evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}}}
        record = Workplace(tmp_path / name).shipped("census", **merge(QUICK, over)).run()
        digests.add(record["verdict"]["model_digest"])
    assert len(digests) == 1
