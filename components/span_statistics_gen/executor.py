"""Executor of SpanStatisticsGen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor

from components.carried_files import Carried
from components.done_anew import done_anew
from components.span_statistics_gen import artifacts, records, statistics, store
from data.worker_errors import raised_here

INLINE_MAX_ROWS = 500_000
"""Up to so many new rows in all, statistics are computed in the executor's own process: a Beam pipeline costs a
second by itself. Results are the same either way."""


@dataclasses.dataclass(frozen=True)
class SplitJob:
    """Statistics to be computed: one split of one span.

    Attributes:
        files: its record files, in order.
        target: the statistics file to be written.
    """

    files: tuple[str, ...]
    target: str

    def run(self) -> None:
        """Computes the statistics in this process and writes them."""
        statistics.write_statistics(statistics.split_statistics(self.files), Path(self.target))


class Executor(base_beam_executor.BaseBeamExecutor):
    """Computes the statistics of the spans that have none in the content store, and links the others."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """See `SpanStatisticsGen`."""
        config = json.loads(exec_properties.get("config") or "{}")
        state_dir = exec_properties["state_dir"]
        key = store.statistics_key(exec_properties["code_digest"])
        anew = done_anew(self._context)
        (template,) = output_dict["statistics"]
        outputs, jobs, fresh, rows = [], [], [], 0
        for examples in artifacts.by_span(input_dict["examples"]):
            output = artifacts.span_output(template, examples)
            outputs.append(output)
            splits = artifacts.split_names(examples)
            stored = store.stored_directory(
                state_dir, examples.get_string_custom_property(artifacts.INGEST_KEY_PROPERTY) or "none", key
            )
            if not anew and store.restore(stored, output.uri, splits):
                continue
            fresh.append((output.uri, stored, splits))
            rows += examples.get_int_custom_property(artifacts.ROWS_PROPERTY)
            for split in splits:
                files = tuple(str(path) for path in records.split_files(examples.uri, split))
                jobs.append(SplitJob(files, str(statistics.statistics_path(output.uri, split))))
        if rows <= config.get("inline_max_rows", INLINE_MAX_ROWS):
            for job in jobs:
                job.run()
        else:
            self._run_in_beam(jobs)
        for uri, stored, splits in fresh:
            store.keep(uri, stored, splits)
        return artifacts.executor_output("statistics", outputs)

    def _run_in_beam(self, jobs: list[SplitJob]) -> None:
        import apache_beam as beam

        shards = [(job, i, file) for job in jobs for i, file in enumerate(job.files)]
        for job in jobs:
            if not job.files:
                job.run()
        with raised_here(self._get_tmp_dir()) as noting, self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create(shards)
                | "Spread" >> beam.Reshuffle()
                | "Partial" >> beam.Map(Carried(_partial, _shard_files, _nothing, noting))
                | "BySplit" >> beam.GroupByKey()
                | "Merge" >> beam.Map(Carried(_merge, _nothing, _target, noting))
            )


def _partial(shard: tuple[SplitJob, int, str]) -> tuple[str, tuple[int, statistics.Partial]]:
    job, index, file = shard
    return job.target, (index, statistics.partial_statistics(statistics.decoded_batches([file])))


def _merge(split: tuple[str, Iterable[tuple[int, statistics.Partial]]]) -> None:
    target, partials = split
    in_file_order = [partial for _, partial in sorted(partials, key=lambda item: item[0])]
    statistics.write_statistics(statistics.merged_statistics(in_file_order), Path(target))


def _shard_files(shard: tuple[SplitJob, int, str]) -> list[str]:
    return [shard[2]]


def _target(split: tuple[str, Any]) -> list[str]:
    return [split[0]]


def _nothing(_: Any) -> list[str]:
    return []
