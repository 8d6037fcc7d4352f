"""`tuner_fn`: the user function that TFX's Tuner calls, and the choice between searching and remembering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.transform.plan import load_plan
from components.tuner.space import fixed, own_values
from schema.training import TrainerConfig, TunerConfig


def tuner_fn(fn_args: Any) -> Any:
    """Builds the tuner of a line.

    Args:
        fn_args: TFX's FnArgs; `working_dir` is where trials are kept, `custom_config` holds `config` with the sections
            tuner, trainer, task and seed, and maybe `repeat` (see LineTuner).

    Returns:
        A `TunerFnResult`.
    """
    from tfx.components.tuner.component import TunerFnResult

    from components.trainer.dataset import RawReader, load_split
    from components.tuner.line_tuner import LineTuner

    sections = fn_args.custom_config["config"]
    config = TunerConfig.model_validate(sections["tuner"])
    reader = RawReader(fn_args.transform_graph_path)
    tuner = LineTuner(
        config,
        TrainerConfig.model_validate(sections["trainer"]),
        load_plan(fn_args.transform_graph_path),
        sections["task"],
        seed=sections["seed"],
        directory=Path(fn_args.working_dir),
        repeat=fn_args.custom_config.get("repeat"),
    )
    train = load_split(
        fn_args.train_files, fn_args.transform_graph_path, max_examples=config.max_examples, reader=reader
    )
    validation = load_split(
        fn_args.eval_files, fn_args.transform_graph_path, max_examples=config.max_examples, reader=reader
    )
    return TunerFnResult(tuner=tuner, fit_kwargs={"train": train, "validation": validation, "verbose": 0})


def untuned(sections: dict[str, Any]) -> dict[str, Any]:
    """Returns what a line that never tunes goes on with: the trainer section's own values."""
    config = TunerConfig.model_validate(sections["tuner"])
    values = own_values(config.search_space, TrainerConfig.model_validate(sections["trainer"]))
    return {
        "hyperparameters": fixed(values).get_config(),
        "trials": [],
        "made": [],
        "text": "not tuned (tuner.when: never)",
    }


def found_by(tuner: Any) -> dict[str, Any]:
    """Returns what a finished search found, as JSON-ready data.

    Args:
        tuner: a LineTuner whose search has ended.

    Returns:
        `hyperparameters` (KerasTuner's config of the best), `trials` (id, score, values; best first), `made` (all
        trials in order of start, with their epochs), `seconds`, `out_of_time`, and `text` for people.
    """
    best = [t for t in tuner.oracle.get_best_trials(len(tuner.oracle.trials)) if t.score is not None]
    trials = [{"trial_id": t.trial_id, "score": t.score, "values": t.hyperparameters.values} for t in best]
    text = f"best of {len(trials)} trials: {tuner.oracle.objective.name} {best[0].score:.4f}"
    return {
        "hyperparameters": best[0].hyperparameters.get_config(),
        "trials": trials,
        "made": tuner.made,
        "seconds": round(tuner.seconds, 3),
        "out_of_time": tuner.out_of_time,
        "text": text + (" (time was up)" if tuner.out_of_time else ""),
    }
