"""The search: its first trial, its budget, its resumption, its determinism."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.trainer.dataset import Split
from components.transform.plan import FeatureOutput, FeaturePlan, LabelPlan
from schema.training import TrainerConfig, TunerConfig

PLAN = FeaturePlan(
    columns={"x": "FLOAT", "c": "BYTES"},
    label=LabelPlan(name="y", key="y_xf", kind="class_index", classes=("no", "yes"), class_counts=(100, 100)),
    outputs=(
        FeatureOutput(name="x", kind="dense", column="x"),
        FeatureOutput(name="c", kind="categorical", cardinality=3, column="c"),
    ),
)
TRAINER = TrainerConfig.model_validate({"model": {"hidden_units": [8]}, "batch_size": 64})


def split(rows: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    x = random.normal(size=rows).astype(np.float32)
    return Split({"x": x, "c": random.integers(0, 3, rows).astype(np.int32)}, (x > 0).astype(np.int32))


def make_tuner(directory: Path, clock: Any = None, repeat: Any = None, **config: Any) -> Any:
    from components.tuner.line_tuner import LineTuner

    space = {"hidden_units": {"layers": [[8], [4]]}, "dropout": None}
    settings = TunerConfig.model_validate({"epochs": 2, "max_trials": 3, "search_space": space, **config})
    extra = {**({"clock": clock} if clock else {}), "repeat": repeat}
    return LineTuner(settings, TRAINER, PLAN, "binary_classification", seed=0, directory=directory, **extra)


def search(tuner: Any) -> Any:
    tuner.search(train=split(200, 1), validation=split(80, 2), verbose=0)
    return tuner


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband"])
def test_each_algorithm_ends_inside_its_budget_of_trials(tmp_path: Path, algorithm: str) -> None:
    from components.tuner.tune import found_by

    found = found_by(search(make_tuner(tmp_path, algorithm=algorithm)))
    assert 1 <= len(found["trials"]) <= 3
    scores = [trial["score"] for trial in found["trials"]]
    assert scores == sorted(scores)
    assert found["hyperparameters"]["values"] == found["trials"][0]["values"]


@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_first_trial_is_the_model_without_tuning(tmp_path: Path, algorithm: str) -> None:
    tuner = search(make_tuner(tmp_path, algorithm=algorithm, max_trials=2))
    first = tuner.oracle.trials[tuner.oracle.start_order[0]].hyperparameters.values
    assert first == {"learning_rate": TRAINER.learning_rate, "model.hidden_units": "[8]"}


def test_same_seed_gives_the_same_search(tmp_path: Path) -> None:
    from components.tuner.tune import found_by

    runs = [found_by(search(make_tuner(tmp_path / name))) for name in ("a", "b")]
    assert runs[0]["trials"] == runs[1]["trials"]


def test_budget_of_seconds_ends_the_search(tmp_path: Path) -> None:
    from components.tuner.tune import found_by

    ticks = iter(range(10_000))
    found = found_by(search(make_tuner(tmp_path, clock=lambda: float(next(ticks)), max_trials=50, max_seconds=8.0)))
    assert found["out_of_time"] is True
    assert 1 <= len(found["trials"]) < 10


@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_search_that_time_cut_short_is_repeated_without_a_clock(tmp_path: Path, algorithm: str) -> None:
    from components.tuner.tune import found_by

    ticks = itertools.count()
    budget = {"algorithm": algorithm, "epochs": 3, "max_trials": 20, "max_seconds": 7.0}
    cut = found_by(search(make_tuner(tmp_path / "cut", clock=partial(next, ticks), **budget)))
    epochs = [trial["epochs"] for trial in cut["made"]]
    assert cut["out_of_time"] and len(epochs) > 1
    again = found_by(search(make_tuner(tmp_path / "again", clock=lambda: 0.0, repeat=epochs, **budget)))
    assert again["made"] == cut["made"] and again["trials"] == cut["trials"]
    assert again["hyperparameters"] == cut["hyperparameters"] and again["out_of_time"]


def test_killed_search_goes_on_and_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    from keras_tuner import errors

    from components.tuner.tune import found_by

    whole = found_by(search(make_tuner(tmp_path / "whole")))
    killed = make_tuner(tmp_path / "killed")
    ran: list[str] = []
    real = killed.run_trial

    def die_in_second(trial: Any, **kwargs: Any) -> Any:
        if ran:
            raise errors.FatalError("killed")
        ran.append(trial.trial_id)
        return real(trial, **kwargs)

    killed.run_trial = die_in_second
    with pytest.raises(errors.FatalError):
        search(killed)
    resumed = make_tuner(tmp_path / "killed")
    again: list[str] = []
    real_again = resumed.run_trial

    def count(trial: Any, **kwargs: Any) -> Any:
        again.append(trial.trial_id)
        return real_again(trial, **kwargs)

    resumed.run_trial = count
    search(resumed)
    assert len(again) == 2, "the finished trial must not run again"
    assert found_by(resumed)["trials"] == whole["trials"]
    assert found_by(resumed)["made"] == whole["made"], "epochs made before the kill are known"


def test_time_spent_before_a_kill_counts(tmp_path: Path) -> None:
    (tmp_path / "budget.json").write_text(json.dumps({"seconds": 100.0, "epochs": {}}))
    tuner = make_tuner(tmp_path, clock=lambda: 5.0)
    assert tuner.seconds == pytest.approx(100.0)
