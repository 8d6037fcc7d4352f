"""`from conveyor import Line`: experiments a component at a time, and their promotion as the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conveyor import Line
from schema.errors import ConveyorError, UsageError
from tests.e2e.line_runs import Workplace, merge, write_csv
from tests.e2e.test_lines import QUICK, census_rows

pytestmark = pytest.mark.slow

OVER: dict[str, Any] = {"evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("research")
    write_csv(folder / "census.csv", census_rows(1500))
    return Workplace(folder).shipped("census", **merge(QUICK, OVER))


@pytest.fixture(scope="module")
def line(place: Workplace) -> Line:
    return Line(place.folder, home=place.folder / "state")


def test_components_one_by_one_then_the_same_model_as_a_pipeline(place: Workplace, line: Line) -> None:
    trial = line.experiment({"trainer.learning_rate": 0.004}, name="faster")
    with pytest.raises(UsageError, match="the experiment must have run. Got nothing yet"):
        trial.transformed()
    trial.run("SpanStatisticsGen", show=False)
    rows = trial.examples("train")
    assert {"age", "sex", "marital"} <= set(rows.columns)
    assert len(trial.examples("eval", limit=7)) == 7
    statistics = trial.statistics("train")
    assert statistics.datasets[0].num_examples == len(rows)
    with pytest.raises(UsageError, match="Transform must have run, to give transform_graph"):
        trial.transformed()

    trial.run("Transform", show=False)
    states = {node.node: node.state for node in trial.record.nodes}
    assert states["SpanExampleGen"] == "cached" and states["Transform"] == "done"
    assert {feature.name for feature in trial.schema().feature} >= set(rows.columns) - {"income"}
    assert trial.anomalies("train").anomaly_info == {} and trial.gate()["decisions"] == []
    transformed = trial.transformed("train")
    assert len(transformed) == len(rows) and transformed.dtypes.map(str).isin(["float32", "int32"]).all()

    trial.run(show=False)
    assert trial.record.experiment == "faster" and trial.record.verdict["outcome"] == "stopped"
    assert {"loss", "val_loss", "val_auc"} <= set(trial.history().columns)
    assert len(trial.trials()) >= 1 and trial.hyperparameters()["learning_rate"] == pytest.approx(0.004)
    metrics = trial.metrics()
    assert 0.6 < metrics.loc["Overall", "auc"] < 1 and metrics.loc["Overall", "examples"] == len(trial.examples("eval"))
    evaluation = trial.evaluation()
    assert evaluation.get_metrics_for_slice(())["auc"]["doubleValue"] == pytest.approx(metrics.loc["Overall", "auc"])
    answers = trial.predictions("eval")
    assert len(answers) == metrics.loc["Overall", "examples"] and "probabilities" in answers.columns
    assert not (place.folder / "state" / "census" / "releases.jsonl").exists(), "an experiment pushes nothing"

    overlay = trial.save("faster")
    assert overlay.name == "line.faster.yaml"
    record = place.run("--env", "faster")
    assert record["verdict"]["outcome"] == "pushed"
    assert record["verdict"]["model_digest"] == trial.model_digest()
    cached = {node["node"] for node in record["nodes"] if node["state"] == "cached"}
    assert {"SpanExampleGen", "Transform", "Tuner", "Trainer", "Evaluator"} <= cached
    with pytest.raises(UsageError, match=r"line.faster.yaml must not be there yet"):
        trial.save("faster")


def test_what_a_change_did_to_the_metrics_slice_by_slice(place: Workplace, line: Line) -> None:
    one = line.experiment({"trainer.learning_rate": 0.004}).run(show=False)
    two = line.experiment({"trainer.learning_rate": 0.0001}, name="slower").run(show=False)
    found = line.compare(one, two)
    assert found.config == {"trainer.learning_rate": [0.004, 0.0001]}
    assert not any(found.data.values()) and not {key for key in found.code if not key.startswith("git_")}
    assert ("Overall", "auc") in found.metrics.index and len({name for name, _ in found.metrics.index}) > 1
    assert found.metrics.loc[("Overall", "auc"), "change"] == pytest.approx(
        two.metrics().loc["Overall", "auc"] - one.metrics().loc["Overall", "auc"]
    )
    runs = line.runs()
    assert runs.loc[two.record.run_id, "experiment"] == "slower" and "auc" in runs.columns
    said = place.conveyor("compare", one.record.run_id, two.record.run_id)
    assert "trainer.learning_rate: 0.004 -> 0.0001" in said.stdout and "Overall" in said.stdout


def test_a_sample(line: Line) -> None:
    half = line.experiment(sample=0.5).run("SpanExampleGen", show=False)
    whole = line.experiment().run("SpanExampleGen", show=False)
    rows, all_rows = half.examples("train"), whole.examples("train")
    assert 0.4 < len(rows) / len(all_rows) < 0.6
    taken = {json.dumps(row, sort_keys=True) for row in rows.to_dict("records")}
    assert taken <= {json.dumps(row, sort_keys=True) for row in all_rows.to_dict("records")}


def test_promotion_in_the_same_process(tmp_path: Path) -> None:
    write_csv(tmp_path / "census.csv", census_rows(1500))
    Workplace(tmp_path).shipped("census", **merge(QUICK, OVER))
    trial = Line(tmp_path, home=tmp_path / "state").experiment({"trainer.learning_rate": 0.004}).run(show=False)
    done = trial.promote(show=False)
    assert done.record.verdict is not None and done.record.verdict["outcome"] == "pushed"
    assert done.record.verdict["model_digest"] == trial.model_digest()


def test_a_component_that_fails_says_why(line: Line) -> None:
    with pytest.raises(ConveyorError, match="feature 'age' must be of type BYTES") as raised:
        line.experiment({"examples.columns": {"age": "BYTES"}}).run("DataGate", show=False)
    assert raised.value.exit_code == 2


def test_rejected_data_says_why(place: Workplace, tmp_path: Path) -> None:
    rows = census_rows(300)
    write_csv(tmp_path / "census.csv", [{**row, "marital": "Gone fishing"} for row in rows])
    Workplace(tmp_path).shipped("census", **merge(QUICK, OVER))
    strict = {"validation.anomalies.unexpected_value": "fail"}
    with pytest.raises(ConveyorError, match="marital") as raised:
        Line(tmp_path, home=tmp_path / "state").experiment(strict).run("DataGate", show=False)
    assert raised.value.exit_code == 4
