"""`conveyor reproduce`: a released model is made again, bit for bit; each kind of change is found and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.line_runs import Workplace, merge, write_csv
from tests.e2e.test_lines import QUICK, census_rows

pytestmark = pytest.mark.slow

LINE: dict[str, Any] = merge(
    QUICK,
    {
        "evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.6}}}},
        # Two trials at most in a second; what they were is recorded.
        "tuner": {"max_trials": 30, "epochs": 3, "max_seconds": 1.0},
    },
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("reproduce")
    write_csv(folder / "census.csv", census_rows(1500))
    made = Workplace(folder).shipped("census", **LINE)
    made.run()
    return made


def runs(place: Workplace) -> list[Path]:
    return sorted((place.folder / "state" / "census" / "runs").iterdir())


def reproduce(place: Workplace, output: Path, *args: str, expect: int) -> dict[str, Any]:
    # Packages are those that are installed: making an environment takes minutes, and is tried by hand.
    done = place.conveyor("reproduce", "census", *args, "--json", "--output", str(output), "--present-environment")
    assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def report(place: Workplace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return reproduce(place, tmp_path_factory.mktemp("again") / "rebuild", "1", expect=0)


def test_all_that_the_run_made_is_equal(report: dict[str, Any]) -> None:
    assert report["equal"] and report["first"] == "" and report["metrics"] == []
    nodes = {one["node"] for one in report["made"]}
    assert {"SpanExampleGen", "SpanStatisticsGen", "Transform", "Tuner", "Trainer", "Evaluator", "Pusher"} <= nodes
    assert report["model_digests"][0] == report["model_digests"][1] is not None
    assert report["code_differences"] == [] and report["data"] == []


def test_the_trials_that_time_allowed_are_made_again(place: Workplace, report: dict[str, Any]) -> None:
    kept = json.loads((runs(place)[0] / "search.json").read_text())
    assert kept["out_of_time"] and 1 <= len(kept["trials"]) < 30
    assert "time cut the search short" in report["search"]
    again = json.loads((Path(report["folder"]) / "search.json").read_text())
    assert again["made"] == kept["made"]


def test_a_byte_of_data(place: Workplace, report: dict[str, Any], tmp_path: Path) -> None:
    table = place.folder / "census.csv"
    content = table.read_bytes()
    try:
        table.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
        found = reproduce(place, tmp_path / "a", expect=1)
    finally:
        table.write_bytes(content)
    (finding,) = found["data"]
    assert finding["file"] == str(table) and finding["text"].startswith("has changed: sha256 ")
    assert found["rebuilt_run_id"] is None and not (tmp_path / "a").exists()


def test_data_that_has_moved(place: Workplace, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    table = place.folder / "census.csv"
    shutil.move(table, tmp_path / "archive")
    try:
        assert reproduce(place, tmp_path / "a", expect=1)["data"][0]["text"] == "is gone"
        assert reproduce(place, tmp_path / "b", "--data", str(tmp_path / "archive"), expect=0)["equal"]
    finally:
        shutil.move(tmp_path / "archive" / "census.csv", table)


@pytest.fixture
def spoilt(place: Workplace, tmp_path: Path) -> Workplace:
    """The line with a state of its own, whose record may be changed."""
    shutil.copytree(place.folder / "state", tmp_path / "line" / "state")
    return Workplace(tmp_path / "line")


def test_a_key_of_the_recorded_config(spoilt: Workplace, tmp_path: Path) -> None:
    file = runs(spoilt)[0] / "run.json"
    record = json.loads(file.read_text())
    record["config"]["trainer"]["batch_size"] += 1
    file.write_text(json.dumps(record))
    done = spoilt.conveyor("reproduce", "census", "--output", str(tmp_path / "a"))
    assert done.returncode == 1 and "the config must have the digest" in done.stderr


def test_a_line_of_code(spoilt: Workplace, tmp_path: Path) -> None:
    diff = runs(spoilt)[0] / "code.diff"
    record = json.loads((runs(spoilt)[0] / "run.json").read_text())
    if not diff.is_file():
        record["provenance"]["git_diff_sha256"] = "0" * 64
        (runs(spoilt)[0] / "run.json").write_text(json.dumps(record))
    diff.write_text("another difference\n")
    done = spoilt.conveyor("reproduce", "census", "--output", str(tmp_path / "a"))
    assert done.returncode == 1 and "somebody changed it" in done.stderr
    sources = runs(spoilt)[0] / "sources.json"
    known = json.loads(sources.read_text())
    known["files"]["components/trainer/fit.py"] = "0" * 64
    sources.write_text(json.dumps(known))
    found = reproduce(spoilt, tmp_path / "b", "--present-code", expect=0)
    assert found["code_differences"] == ["components/trainer/fit.py is another one"]


def test_a_package_version(spoilt: Workplace, tmp_path: Path) -> None:
    file = runs(spoilt)[0] / "surroundings.json"
    known = json.loads(file.read_text())
    present = known["packages"]["numpy"]
    known["packages"]["numpy"] = "1.0"
    file.write_text(json.dumps(known))
    found = reproduce(spoilt, tmp_path / "a", "--present-code", expect=0)
    assert f"package numpy: 1.0 -> {present}" in found["surroundings"]


def test_where_the_first_difference_arises(spoilt: Workplace, tmp_path: Path) -> None:
    """Another seed, with a record that fits: a difference that nothing but the results can tell."""
    file = runs(spoilt)[0] / "run.json"
    record = json.loads(file.read_text())
    from schema.base import sha256_json

    record["config"]["seed"] = record["config"].get("seed", 0) + 1
    record["config_digest"] = sha256_json(record["config"])
    file.write_text(json.dumps(record))
    found = reproduce(spoilt, tmp_path / "a", "--present-code", expect=1)
    unequal = {one["node"] for one in found["made"] if one["differing"]}
    assert "SpanStatisticsGen" not in unequal and "Trainer" in unequal
    assert found["first"].startswith("Tuner.")
    model = next(one for one in found["made"] if one["name"] == "Trainer.model")
    assert any("/variables/" in part for part in model["differing"])
    assert found["metrics"]


def test_a_search_on_other_data_is_taken_over(place: Workplace, tmp_path: Path) -> None:
    """The second run remembers what the first one's search found on fewer rows."""
    folder = tmp_path / "line"
    write_csv(folder / "census.csv", census_rows(1200))
    line = Workplace(folder).shipped("census", **merge(LINE, {"tuner": {"max_seconds": None, "max_trials": 2}}))
    line.run()
    write_csv(folder / "census.csv", census_rows(1500))
    second = line.run()
    found = reproduce(line, tmp_path / "a", "--run", second["run_id"], expect=0)
    assert "remembered from run" in found["search"] and found["equal"]


def test_a_warm_start_begins_with_the_model_that_was_live(tmp_path: Path) -> None:
    folder = tmp_path / "line"
    write_csv(folder / "census.csv", census_rows(1200))
    line = Workplace(folder).shipped("census", **merge(LINE, {"trainer": {"warm_start": True}}))
    line.run()
    write_csv(folder / "census.csv", census_rows(1500))
    record = line.run()
    assert record["warm_start"]
    found = reproduce(line, tmp_path / "a", "--run", record["run_id"], expect=0)
    assert found["equal"] and "training began with version 1" in found["notes"][0]


def test_a_run_that_took_components_from_another_is_rebuilt_after_it(place: Workplace, tmp_path: Path) -> None:
    folder = tmp_path / "line"
    write_csv(folder / "census.csv", census_rows(1500))
    tuner = {"max_seconds": None, "max_trials": 1}
    line = Workplace(folder).shipped("census", **merge(LINE, {"tuner": tuner}))
    first = line.run("--until", "Tuner")
    # The seed is the Tuner's too: with the second config alone its search would be another one.
    line.shipped("census", **merge(LINE, {"tuner": tuner, "trainer": {"learning_rate": 0.004}, "seed": 7}))
    second = line.run("--from", "Trainer")
    assert second["taken_from"]["Tuner"] == first["run_id"]
    found = reproduce(line, tmp_path / "a", "--run", second["run_id"], expect=0)
    assert found["equal"] and f"taken from run {first['run_id']}, which is rebuilt first" in found["notes"][0]


def test_two_runs_from_empty_states_are_equal(place: Workplace, tmp_path: Path) -> None:
    """Another folder, another time, another number of Beam workers; metadata of no use to one are left out."""
    write_csv(tmp_path / "census.csv", census_rows(1500))
    config = yaml.safe_load((place.folder / "line.yaml").read_text())
    search = json.loads((runs(place)[0] / "search.json").read_text())
    file = tmp_path / "search.json"
    file.write_text(json.dumps({"run_id": search["run_id"], "made": search["made"]}))
    beam = {"direct_num_workers": 2, "large_input_bytes": 1, "direct_running_mode": "multi_processing"}
    (tmp_path / "line.yaml").write_text(yaml.safe_dump(merge(config, {"beam": beam})))
    other = Workplace(tmp_path)
    other.run("--repeat-search", str(file))
    one, two = (
        {
            (made["node"], made["key"], made["index"]): made["parts"]
            for made in json.loads((runs(each)[0] / "identities.json").read_text())["made"]
        }
        for each in (place, other)
    )
    assert one == two


def test_wrong_input(place: Workplace, tmp_path: Path) -> None:
    for args, code, said in (
        (("9",), 2, "VERSION must be one that was released. Got 9 instead; there are 1"),
        (("--run", "none"), 2, "RUN must name one run"),
        (("1", "--run", "latest"), 2, "VERSION must not be given with --run"),
        (("--output", str(place.folder)), 2, "--output must be a folder that is not there yet"),
    ):
        done = place.conveyor("reproduce", "census", *args)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    lost = tmp_path / "line"
    shutil.copytree(place.folder / "state", lost / "state")
    shutil.rmtree(runs(Workplace(lost))[0])
    (lost / "state" / "census" / "runs").mkdir(exist_ok=True)
    done = Workplace(lost).conveyor("reproduce", "census")
    assert done.returncode == 1 and "which made version 1. Got none" in done.stderr
