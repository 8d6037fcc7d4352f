"""kill -9 at and in each component, then the next run or a resumed one: it finishes, redoes nothing that was finished,
and reads no half."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.fingerprint import file_sha256
from pipeline.identities import identities
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


def kept(record: dict[str, Any], node: str, key: str) -> dict[str, str]:
    """Returns the files of an output of a run, by path in the artifact, with their SHA-256."""
    artifacts = next(entry for entry in record["nodes"] if entry["node"] == node)["outputs"][key]
    return {
        f"{number}/{path.relative_to(artifact['uri'])}": file_sha256(path)
        for number, artifact in enumerate(artifacts)
        for path in sorted(Path(artifact["uri"]).rglob("*"))
        if path.is_file()
    }


def transform_graph(record: dict[str, Any]) -> dict[str, str]:
    """Returns the parts of a run's transform graph with their digests.

    Not its files: TensorFlow names functions by a number that counts all that the process has traced before, and a
    resumed process finds analyses that an undisturbed one makes.
    """
    (made,) = identities([(node["node"], node["outputs"]) for node in record["nodes"] if node["node"] == "Transform"])
    return made.parts


def assert_like(record: dict[str, Any], whole: dict[str, Any]) -> None:
    """Checks that a run ended as an undisturbed one did."""
    for key in ("outcome", "version", "model_digest"):
        assert record["verdict"][key] == whole["verdict"][key], key
    assert record["slices"] == whole["slices"]
    for node, key in (
        ("SpanExampleGen", "examples"),
        ("SpanStatisticsGen", "statistics"),
        ("DataGate", "examples"),
        ("Tuner", "best_hyperparameters"),
    ):
        assert kept(record, node, key) == kept(whole, node, key), (node, key)
    assert transform_graph(record) == transform_graph(whole)


def two_places(folder: Path) -> tuple[dict[str, Any], Workplace]:
    """Returns the record of an undisturbed run, and a place for one that is to be killed."""
    for name in ("whole", "killed"):
        write_csv(folder / name / "census.csv", census_rows(1500))
    places = [Workplace(folder / name).shipped("census", **merge(QUICK, OVER)) for name in ("whole", "killed")]
    return places[0].run(), places[1]


def states_of_the_newest(place: Workplace) -> dict[str, str]:
    newest = sorted((place.folder / "state").glob("*/runs/*/run.json"))[-1]
    return states(json.loads(newest.read_text(encoding="utf-8")))


ORDER = (*NODES[: NODES.index("baseline")], "InfraValidator", "baseline", "Evaluator", "Pusher")
"""The order in which the local runner comes to the components."""


@pytest.mark.slow
def test_killed_after_each_component_and_resumed_it_ends_like_an_undisturbed_run(tmp_path: Path) -> None:
    whole, place = two_places(tmp_path)
    done: list[str] = []
    for node in ORDER:
        resume = ["--resume", "latest"] if done else []
        place.kill_itself("run", str(place.folder), *resume, KILL_AFTER=node)
        found = states_of_the_newest(place)
        # InfraValidator and baseline need nothing of each other: either may come first.
        again = {name for name in done if found.get(name, "cached") != "cached"}
        assert again <= {"baseline"}, f"killed after {node}: {found}"
        done.append(node)
    record = place.run("--resume", "latest")
    assert {node for node, state in states(record).items() if state != "cached"} <= {"baseline"}
    assert record["resumes"]
    assert_like(record, whole)


WRITES = (
    "spans",
    *(f"pipeline_root/{node}" for node in NODES[: NODES.index("Transform")]),
    "analysis",
    "pipeline_root/Transform",
    "work/tuner",
    "pipeline_root/Tuner",
    "work/trainer",
    "pipeline_root/Trainer",
    "pipeline_root/InfraValidator",
    "pipeline_root/Evaluator",
    "serving_model",
    "pipeline_root/Pusher",
)
"""Folders of a line's state that components write to, in the order in which a run comes to them."""


@pytest.mark.slow
def test_killed_in_the_writes_of_each_component_and_resumed_it_ends_like_an_undisturbed_run(tmp_path: Path) -> None:
    whole, place = two_places(tmp_path)
    state = place.folder / "state" / "census"
    for number, folder in enumerate(WRITES):
        resume = ["--resume", "latest"] if number else []
        place.kill_itself("run", str(place.folder), *resume, KILL_BELOW=str(state / folder))
    record = place.run("--resume", "latest")
    assert_like(record, whole)
    left = {child.name for child in (state / "serving_model" / "census").iterdir()} - {".push.lock"}
    assert left == {"1"}, "no half-written version is left"
