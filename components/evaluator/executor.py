"""Executor of LineEvaluator."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_beam_executor

from components.carried_files import Carried
from components.evaluator.eval_config import BASELINE, CANDIDATE, EvaluationConfig
from components.evaluator.results import Evaluation, read_evaluation
from data.worker_errors import raised_here

SPLIT = "eval"
SHARD_BYTES = 32 * 1024 * 1024
"""Record files are evaluated together up to so many (compressed) bytes. A shard is the unit of parallel work, and each
loads the models anew."""


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates the candidate (and the baseline) with TFMA, and blesses the candidate or does not."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `LineEvaluator`."""
        from tfx.types import artifact_utils
        from tfx.utils import path_utils

        config = EvaluationConfig.model_validate_json(exec_properties["config"])
        candidate = artifact_utils.get_single_instance(input_dict["model"])
        baselines = input_dict.get("baseline_model") or []
        models = {CANDIDATE: path_utils.serving_model_path(candidate.uri)}
        if baselines:
            models[BASELINE] = path_utils.serving_model_path(artifact_utils.get_single_instance(baselines).uri)
        directory = artifact_utils.get_single_uri(output_dict["evaluation"])
        self._evaluate(config, models, eval_shards(input_dict["examples"]), directory)
        evaluation = read_evaluation(directory)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        bless(blessing, evaluation, candidate, baselines[0] if baselines else None)
        for failure in evaluation.failures:
            logging.warning("not blessed: %s", failure.message)

    def _evaluate(
        self, config: EvaluationConfig, models: dict[str, str], shards: list[list[str]], directory: str
    ) -> None:
        from components.evaluator import tfma_evaluation

        evaluate = partial(tfma_evaluation.evaluate_shard, config, models)
        write = partial(tfma_evaluation.write_evaluation, config, BASELINE in models, directory)
        if len(shards) <= 1:
            # A Beam pipeline costs a second by itself and could not share out a single shard.
            write(tfma_evaluation.merge_partials(evaluate(shard) for shard in shards))
            return
        import apache_beam as beam

        reads = partial(_shard_and_models, tuple(models.values()))
        writes = partial(_one_folder, directory)
        with raised_here(directory) as noting, self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards)
                | "Spread" >> beam.Reshuffle()
                | "Evaluate" >> beam.Map(Carried(evaluate, reads, _nothing, noting))
                | "Merge" >> beam.CombineGlobally(tfma_evaluation.merge_partials)
                | "Write" >> beam.Map(Carried(write, _nothing, writes, noting))
            )


def _shard_and_models(models: Sequence[str], shard: Sequence[str]) -> list[str]:
    return [*shard, *models]


def _one_folder(directory: str, whole: Any) -> list[str]:
    return [directory]


def _nothing(_: Any) -> list[str]:
    return []


def eval_shards(examples: Iterable[types.Artifact]) -> list[list[str]]:
    """Returns the record files of the eval split, in order, in groups of about `SHARD_BYTES`."""
    from tfx.dsl.io import fileio
    from tfx.types import artifact_utils
    from tfx.utils import io_utils

    shards: list[list[str]] = []
    size = SHARD_BYTES
    for uri in artifact_utils.get_split_uris(list(examples), SPLIT):
        for path in sorted(fileio.glob(io_utils.all_files_pattern(uri))):
            if size >= SHARD_BYTES:
                shards.append([])
                size = 0
            shards[-1].append(path)
            size += os.path.getsize(path) if os.path.exists(path) else SHARD_BYTES
    return shards


def bless(
    blessing: types.Artifact, evaluation: Evaluation, candidate: types.Artifact, baseline: types.Artifact | None
) -> None:
    """Fills a ModelBlessing in as TFX's Evaluator does: a file BLESSED or NOT_BLESSED, and custom properties."""
    from tfx.components.evaluator import constants
    from tfx.utils import io_utils

    name = constants.BLESSED_FILE_NAME if evaluation.blessed else constants.NOT_BLESSED_FILE_NAME
    value = constants.BLESSED_VALUE if evaluation.blessed else constants.NOT_BLESSED_VALUE
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, candidate.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, candidate.id)
    if baseline is not None:
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
