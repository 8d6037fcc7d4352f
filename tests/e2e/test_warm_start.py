"""A line whose training starts from the model that is being served: first run, growing data, and after a rollback."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.trainer.layout import Layout
from components.trainer.warm_start import LAYOUT, WEIGHTS
from tests.e2e.line_runs import Workplace, merge, taxi_rows, write_csv

OCTOBER_2013, YEAR_2014, APRIL_2014 = 1380585600, 1388534400, 1396310400
LINE: dict[str, Any] = {
    "examples": {"input": "trips.csv", "window": None},
    "tuner": {"when": "never"},
    "trainer": {"warm_start": True, "epochs": 4, "batch_size": 32, "model": {"hidden_units": [16]}},
    "infra_validator": {"p99_latency_ms": 60_000, "num_examples": 8},
    "evaluator": {
        "min_slice_size": 40,
        "thresholds": {
            "auc": {
                "value_threshold": {"lower_bound": 0.6},
                "change_threshold": {"absolute": -0.2, "direction": "HIGHER_IS_BETTER"},
            }
        },
    },
}


def trips(place: Workplace, until: int) -> None:
    """Writes the trips before a time. From October on a company that was rare has most of those without a name."""
    rows = []
    for row in taxi_rows():
        at = int(row["trip_start_timestamp"])
        if at < until:
            often = at >= OCTOBER_2013 and not row["company"]
            rows.append({**row, "company": "KOAM Taxi Association"} if often else row)
    write_csv(place.folder / "trips.csv", rows)


def output(record: dict[str, Any], node: str, key: str) -> Path:
    (found,) = (n["outputs"][key][-1]["uri"] for n in record["nodes"] if n["node"] == node)
    return Path(found)


def training(record: dict[str, Any]) -> dict[str, Any]:
    return json.loads((output(record, "Trainer", "model_run") / "training.json").read_text())


def log(place: Workplace, record: dict[str, Any]) -> str:
    return (place.folder / "state" / "taxi" / "runs" / record["run_id"] / "log.txt").read_text()


def terms(record: dict[str, Any], feature: str) -> list[str]:
    folder = output(record, "Transform", "transform_graph") / "transform_fn" / "assets"
    return (folder / feature).read_text().splitlines()


def wide_weights(model: Path, feature: str) -> dict[str, float]:
    """What the wide part of a saved model adds for each term of a feature."""
    layout = Layout.model_validate_json((model / LAYOUT).read_text())
    begin = 0
    for name, cardinality, size in layout.tables["wide/table"]:
        if name == feature:
            break
        begin += cardinality * size
    table = np.load(model / WEIGHTS)["wide/table"]
    return {term: float(table[begin + 1 + i]) for i, term in enumerate(layout.categories[feature].terms or ())}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("warm")).shipped("taxi", **LINE)


@pytest.fixture(scope="module")
def first(place: Workplace) -> dict[str, Any]:
    trips(place, OCTOBER_2013)
    return place.run()


@pytest.fixture(scope="module")
def second(place: Workplace, first: dict[str, Any]) -> dict[str, Any]:
    trips(place, YEAR_2014)
    return place.run()


@pytest.mark.slow
def test_the_first_run_starts_cold_and_says_so(place: Workplace, first: dict[str, Any]) -> None:
    assert first["verdict"]["outcome"] == "pushed" and first["verdict"]["version"] == 1
    assert training(first)["warm_start"] == {"cold": "no model is being served"}
    assert "cold start, though trainer.warm_start is on: no model is being served" in log(place, first)


@pytest.mark.slow
def test_the_next_starts_from_version_1_and_is_judged_against_it(
    place: Workplace, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert len(second["window"]["spans"]) == len(first["window"]["spans"]) + 1
    assert second["verdict"]["outcome"] == "pushed" and second["verdict"]["version"] == 2
    started = training(second)["warm_start"]
    assert (started["version"], started["model_digest"]) == (1, first["verdict"]["model_digest"])
    assert f"warm start from version 1, model digest {started['model_digest'][:12]}" in log(place, second)
    assert not started["initial"] and started["taken"]
    overall = next(entry for entry in second["slices"] if entry["slice"] == "Overall")
    assert overall["baseline"]["auc"] is not None and overall["baseline"]["auc"] != overall["metrics"]["auc"]


@pytest.mark.slow
def test_terms_have_moved_and_the_new_model_begins_by_answering_as_version_1_does(
    place: Workplace, first: dict[str, Any], second: dict[str, Any], tmp_path: Path
) -> None:
    from components.trainer.run import run_fn
    from serving.v1_loader import V1Model

    before, after = terms(first, "company_index"), terms(second, "company_index")
    assert after.index("KOAM Taxi Association") < before.index("KOAM Taxi Association")
    assert set(terms(second, "trip_start_month_index")) > set(terms(first, "trip_start_month_index"))
    served = place.folder / "state" / "taxi" / "serving_model" / "taxi" / "1"
    examples = output(second, "DataGate", "examples")
    config = {key: second["config"][key] for key in ("trainer", "task", "label", "seed")}
    run_fn(
        SimpleNamespace(
            transform_graph_path=str(output(second, "Transform", "transform_graph")),
            train_files=[str(examples / "Split-train" / "*")],
            eval_files=[str(examples / "Split-validation" / "*")],
            serving_model_dir=str(tmp_path / "Format-Serving"),
            model_run_dir=str(tmp_path / "model_run"),
            hyperparameters=None,
            base_model=None,
            custom_config={
                "config": merge(config, {"trainer": {"epochs": 1, "learning_rate": 1e-9}}),
                "state_dir": str(tmp_path),
                "baseline": str(served),
            },
        )
    )
    weights = {term: w for term, w in wide_weights(served, "company_index").items() if term in after}
    assert len(set(weights.values())) > 5
    taken = wide_weights(tmp_path / "Format-Serving", "company_index")
    assert {term: taken[term] for term in weights} == pytest.approx(weights, abs=1e-5)
    said = json.loads((tmp_path / "model_run" / "predictions.json").read_text())
    rows = [base64.b64decode(example) for example in said["examples"]]
    with V1Model(served) as model:
        scores = model("serving_default", {"examples": rows})["scores"][:, 0]
    # up to the temperature, and to buckets and scales that the new span has moved
    new, old = (np.log(s) - np.log1p(-s) for s in (np.asarray(said["outputs"]["scores"])[:, 0], scores))
    assert np.corrcoef(new, old)[0, 1] > 0.995


@pytest.mark.slow
def test_its_first_epoch_is_ahead_of_a_cold_starts(tmp_path: Path, second: dict[str, Any]) -> None:
    cold = Workplace(tmp_path).shipped("taxi", **merge(LINE, {"trainer": {"warm_start": False}}))
    trips(cold, YEAR_2014)
    record = cold.run("--until", "Trainer")
    assert training(record)["warm_start"] is None
    assert training(record)["rows"] == training(second)["rows"]
    warm_epoch, cold_epoch = training(second)["history"][0], training(record)["history"][0]
    assert warm_epoch["loss"] < 0.8 * cold_epoch["loss"]
    assert warm_epoch["val_loss"] < cold_epoch["val_loss"]


@pytest.mark.slow
def test_after_a_rollback_it_starts_from_the_version_that_is_live(
    place: Workplace, first: dict[str, Any], second: dict[str, Any]
) -> None:
    back = place.conveyor("rollback", "--to", "1", "--reason", "a test", "--json")
    assert back.returncode == 0 and json.loads(back.stdout)["version"] == 1
    trips(place, APRIL_2014)
    third = place.run()
    assert third["verdict"]["outcome"] == "pushed" and third["verdict"]["version"] == 3
    started = training(third)["warm_start"]
    assert (started["version"], started["model_digest"]) == (1, first["verdict"]["model_digest"])
    assert "warm start from version 1," in log(place, third)
    again = place.run()
    assert again["verdict"]["nothing_new"], "that version 3 is live now is no change by itself"
