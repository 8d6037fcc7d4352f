"""A KerasTuner tuner whose trials are fits of a line's model, inside a budget of wall-clock seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner

from components.trainer.dataset import Split
from components.trainer.fit import fit
from components.trainer.hyperparameters import apply, values_of
from components.trainer.model import build_model
from components.transform.plan import FeaturePlan
from components.tuner.space import declare
from data.whole_file import replace_text
from schema.training import TrainerConfig, TunerConfig

OBJECTIVE = "val_loss"


class _OwnValuesFirst:
    """Makes the first trial the model without tuning: a search never ends with less."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if not self.start_order:  # type: ignore[attr-defined]
            values = dict(self.hyperparameters.values)  # type: ignore[attr-defined]
            return {"status": "RUNNING", "values": values}
        return super().populate_space(trial_id)  # type: ignore[misc,no-any-return]


class _Random(_OwnValuesFirst, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    pass


class _Bayesian(_OwnValuesFirst, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    pass


def make_oracle(config: TunerConfig, trainer: TrainerConfig, seed: int) -> Any:
    """Returns the oracle of the configured algorithm, with the line's search space."""
    space = declare(keras_tuner.HyperParameters(), config.search_space, trainer)
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "min"),
        "hyperparameters": space,
        "allow_new_entries": False,
        # KerasTuner takes a seed of 0 for none.
        "seed": seed + 1,
    }
    if config.algorithm == "hyperband":
        oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=config.epochs, **common)
        oracle.max_trials = config.max_trials
        return oracle
    return (_Bayesian if config.algorithm == "bayesian" else _Random)(max_trials=config.max_trials, **common)


class LineTuner(base_tuner.BaseTuner):  # type: ignore[misc]
    """Searches hyperparameters of a line's model; goes on where a killed search stopped.

    Args:
        config: the tuner section.
        trainer: the trainer section.
        plan: the transformed features.
        task: the line's task.
        seed: the line's seed.
        directory: where trials are kept until the search has ended.
        clock: seconds, for the budget.
        repeat: epochs of each trial of a search that ran out of time, in order of start: makes these trials, and asks
            no clock.
    """

    def __init__(
        self,
        config: TunerConfig,
        trainer: TrainerConfig,
        plan: FeaturePlan,
        task: str,
        *,
        seed: int,
        directory: Path,
        clock: Callable[[], float] = time.monotonic,
        repeat: Sequence[int] | None = None,
    ) -> None:
        self.config, self.trainer, self.plan, self.task, self.line_seed = config, trainer, plan, task, seed
        self.clock = clock
        self.out_of_time = repeat is not None
        self._repeat = repeat
        self._budget_file = directory / "budget.json"
        self._started = clock()
        self._spent_before, self._epochs = self._read_spent()
        super().__init__(
            make_oracle(config, trainer, seed),
            directory=str(directory),
            project_name="trials",
            overwrite=False,
        )

    @property
    def seconds(self) -> float:
        """Seconds spent on the search, those before a kill included."""
        return self._spent_before + self.clock() - self._started

    @property
    def made(self) -> list[dict[str, Any]]:
        """The trials that were made, in order of start, each with its epochs."""
        return [{"trial_id": name, "epochs": self._epochs.get(name, 0)} for name in self.oracle.start_order]

    def pre_create_trial(self) -> None:
        """Ends the search when its time is up, or when it has made the trials that it was to repeat."""
        repeated = self._repeat is not None and len(self.oracle.trials) >= len(self._repeat)
        if repeated or (self._is_late() and self.oracle.end_order):
            self.out_of_time = True
            self.oracle.max_trials = max(1, len(self.oracle.trials))
            self.oracle._retry_queue.clear()

    def run_trial(self, trial: Any, train: Split, validation: Split, **unused: Any) -> dict[str, float]:
        """Fits the model of one trial.

        Returns:
            `val_loss` of the trial's best epoch.
        """
        values = trial.hyperparameters.values
        config = apply(self.trainer, values_of({"values": values})).model_copy(
            update={"epochs": int(values.get("tuner/epochs", self.config.epochs)), "patience": self.config.patience}
        )
        model = build_model(self.plan, config, self.task, seed=self.line_seed)
        result = fit(
            model,
            train,
            validation,
            config,
            plan=self.plan,
            task=self.task,
            seed=self.line_seed,
            callbacks=[self._stops(trial.trial_id)],
        )
        self._epochs[trial.trial_id] = len(result.history)
        return {OBJECTIVE: float(result.best[OBJECTIVE])}

    def on_trial_end(self, trial: Any) -> None:
        """Writes down the time spent and the epochs made, for a search that goes on after a kill."""
        replace_text(self._budget_file, json.dumps({"seconds": self.seconds, "epochs": self._epochs}))
        super().on_trial_end(trial)

    def load_model(self, trial: Any) -> Any:
        """Not offered: the Trainer fits the best hyperparameters anew."""
        raise NotImplementedError

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Nothing to save: a trial is its hyperparameters and its score."""

    def _stops(self, trial_id: str) -> Callable[[dict[str, float]], bool]:
        if self._repeat is None:
            return self._stop_when_late
        epochs = self._repeat[self.oracle.start_order.index(trial_id)]
        return lambda figures: figures["epoch"] + 1 >= epochs

    def _stop_when_late(self, figures: dict[str, float]) -> bool:
        late = self._is_late()
        self.out_of_time |= late
        return late

    def _is_late(self) -> bool:
        limit = self.config.max_seconds if self._repeat is None else None
        return limit is not None and self.seconds >= limit

    def _read_spent(self) -> tuple[float, dict[str, int]]:
        try:
            spent = json.loads(self._budget_file.read_text())
            return float(spent["seconds"]), {str(name): int(epochs) for name, epochs in spent["epochs"].items()}
        except (OSError, ValueError, KeyError):
            return 0.0, {}
