"""A component forced, a run from a component, and what `conveyor explain-cache` says of them, on a real line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.ancestry import taken_before
from pipeline.record import run_folder
from pipeline.sources import Sources
from pipeline.state import State
from schema.orchestration import NODES
from tests.e2e.line_runs import Workplace, merge, write_csv
from tests.e2e.test_kills import OVER, states
from tests.e2e.test_lines import QUICK, census_rows


def explained(place: Workplace, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    done = place.conveyor("explain-cache", run["run_id"], "--json")
    assert done.returncode == 0, done.stderr
    return {each["node"]: each for each in json.loads(done.stdout)["components"]}


def texts(explanation: dict[str, Any]) -> list[str]:
    return [difference["text"] for difference in explanation["differences"]]


@pytest.mark.slow
def test_forced_and_started_in_the_middle(tmp_path: Path) -> None:
    write_csv(tmp_path / "census.csv", census_rows(1500))
    place = Workplace(tmp_path).shipped("census", **merge(QUICK, OVER))
    first = place.run()
    assert {each["reason"] for node, each in explained(place, first).items() if node != "baseline"} == {
        "its first execution"
    }
    assert Sources.read(run_folder(State(tmp_path / "state" / "census", "census"), first["run_id"])) is not None

    forced = place.run("--force", "Tuner", "--until", "Trainer")
    found = states(forced)
    assert {found[node] for node in NODES[: NODES.index("Tuner")]} == {"cached"}
    assert (found["Tuner"], found["Trainer"]) == ("done", "done")
    (finding,) = (node["finding"] for node in forced["nodes"] if node["node"] == "Tuner")
    assert "reused" not in finding, "the search was made again"
    why = explained(place, forced)
    assert (why["Tuner"]["reason"], texts(why["Tuner"])) == ("forced", [])
    assert texts(why["Trainer"]) == [f"hyperparameters: Tuner was executed anew, in run {forced['run_id']}"]
    assert why["Pusher"]["state"] == "not reached"

    place.shipped("census", **merge(merge(QUICK, OVER), {"transform": {"exclude": ["fnlwgt", "education", "race"]}}))
    middle = place.run("--from", "Trainer")
    found = states(middle)
    assert {found[node] for node in taken_before("Trainer")} == {"taken"}
    assert middle["taken_from"] == dict.fromkeys(taken_before("Trainer"), forced["run_id"])
    assert found["Trainer"] == "done"
    # What it took does not know of the changed config, so it is the same model again.
    assert middle["verdict"]["nothing_new"] and middle["verdict"]["version"] == 1
    assert middle["verdict"]["model_digest"] == first["verdict"]["model_digest"]
    assert middle["slices"] == first["slices"]

    plain = place.run("--until", "Transform")
    assert states(plain)["Transform"] == "done", "a later run does what was taken with the config that it has"
    (difference,) = explained(place, plain)["Transform"]["differences"]
    assert (difference["kind"], difference["what"]) == ("config", "transform.exclude")
    assert difference["after"] == ["fnlwgt", "education", "race"]
