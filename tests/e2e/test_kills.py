"""kill -9 at each component, then the next run: it finishes, redoes nothing that was finished, and reads no half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.run import NODES
from tests.e2e.line_runs import Workplace, merge, write_csv
from tests.e2e.test_lines import QUICK, census_rows

OVER: dict[str, Any] = {"evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}}}


def states(record: dict[str, Any]) -> dict[str, str]:
    return {node["node"]: node["state"] for node in record["nodes"]}


@pytest.mark.slow
def test_killed_at_each_component_in_turn_it_ends_like_an_undisturbed_run(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        write_csv(tmp_path / name / "census.csv", census_rows(1500))
    whole = Workplace(tmp_path / "whole").shipped("census", **merge(QUICK, OVER)).run()
    place = Workplace(tmp_path / "killed").shipped("census", **merge(QUICK, OVER))
    for node in NODES:
        if node == "baseline":
            continue
        assert place.kill_at(node, after=0.3) or node == "Pusher", f"the run ended before {node} could be killed"
    record = place.run()
    finished = [node for node in NODES[: NODES.index("Evaluator")] if node != "baseline"]
    assert all(states(record)[node] == "cached" for node in finished[:-1])
    assert record["verdict"]["outcome"] == "pushed"
    assert record["verdict"]["version"] == 1
    assert record["verdict"]["model_digest"] == whole["verdict"]["model_digest"]
    served = place.folder / "state" / "census" / "serving_model" / "census"
    left = {child.name for child in served.iterdir()} - {".push.lock"}
    assert left == {"1"}, "no half-written version is left"


@pytest.mark.slow
def test_killed_in_the_trainer_the_next_run_goes_on(tmp_path: Path) -> None:
    write_csv(tmp_path / "census.csv", census_rows(800))
    place = Workplace(tmp_path).shipped("census", **merge(QUICK, OVER))
    assert place.kill_at("Trainer", after=1.0)
    record = place.run()
    before = NODES[: NODES.index("Trainer")]
    assert {states(record)[node] for node in before} == {"cached"}
    assert record["verdict"]["outcome"] in ("pushed",)
