"""Makes the parts of a batch: right here as the input is read, or in a Beam pipeline of staged parts."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.bulk_inferrer.part import PartJob, make_part, part_name, record_path
from components.bulk_inferrer.part_rows import ERROR, FILE, LINE, Source, cut_parts, read_blocks
from components.carried_files import Carried
from data.whole_file import scratch_folder
from data.worker_errors import raised_here
from pipeline.batch.folder import OutputFolder
from pipeline.beam_options import SETUP_FILE, beam_pipeline_args
from pipeline.runner import beam_stays_here
from schema.beam import BeamConfig
from schema.errors import SpanError

Observer = Callable[[Sequence[dict[str, Any]], int], None]

BEAM_ABOVE_BYTES = 16 << 20
"""Smaller inputs are predicted right here: setting up a Beam pipeline takes longer."""
_LOOK_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be made.

    Attributes:
        source: where the rows come from.
        columns: the columns that are needed.
        rows_per_part: rows a part.
        job: the job of the first part.
        rows: how many rows the input has.
    """

    source: Source
    columns: tuple[str, ...]
    rows_per_part: int
    job: PartJob
    rows: int

    def tables(self, todo: Collection[int]) -> Iterator[tuple[PartJob, pa.Table]]:
        """Yields the parts that are to be made, in order. An input without rows is one part without rows."""
        if not self.rows:
            kinds = [(FILE, pa.int32()), (LINE, pa.int64()), (ERROR, pa.string())]
            yield self.job, pa.schema(kinds).empty_table()
            return
        for part, table in cut_parts(read_blocks(self.source, self.columns), self.rows_per_part, todo):
            yield self.job.model_copy(update={"part": part, "first_row": part * self.rows_per_part}), table

    @property
    def beam_bytes(self) -> int:
        """The size of the input."""
        return sum(file.bytes for file in self.source.files)


def carry_out(
    work: Work, todo: Sequence[int], config: BeamConfig, folder: OutputFolder, check: Callable[[], None]
) -> None:
    """Makes parts. A part is the same bytes, whichever process makes it.

    Args:
        work: what is to be made.
        todo: the parts that are wanted.
        config: the line's `beam` section.
        folder: the output folder.
        check: is called before anything is handed to Beam's runner.

    Raises:
        Exception: what a part raised, as it was raised.
    """
    if not todo:
        return
    args = _beam_args(work, config)
    if args is None or len(todo) == 1:
        try:
            for job, table in work.tables(todo):
                make_part(job, table)
        except SpanError:
            # The file has changed: the parts before may hold rows of neither the old content nor the new one.
            folder.drop(todo)
            raise
        return
    check()
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with scratch_folder(folder.work, "staging") as staging, beam_stays_here(), raised_here(staging) as noting:
        jobs = [_staged(job, table, staging) for job, table in work.tables(todo)]
        with beam.Pipeline(options=PipelineOptions(args)) as pipeline:
            carried = Carried(make_part, _reads, _writes, noting)
            _ = pipeline | "Parts" >> beam.Create(jobs, reshuffle=True) | "Infer" >> beam.Map(carried)


def runner_of(work: Work, config: BeamConfig) -> list[str]:
    """Returns what makes the parts, for the manifest: `in process`, or Beam's runner and its options."""
    args = _beam_args(work, config)
    if args is None:
        return ["in process"]
    left_out = ("--runner", "--setup_file")
    return [config.runner, *(arg for arg in args if arg.partition("=")[0] not in left_out)]


@contextlib.contextmanager
def observed(folder: OutputFolder, parts: int, observe: Observer) -> Iterator[None]:
    """Tells an observer of parts that are whole while a block makes them, in whatever process."""
    stop = threading.Event()
    seen = -1

    def look() -> None:
        nonlocal seen
        made = folder.made()
        if len(made) != seen:
            seen = len(made)
            observe(made, parts)

    def watch() -> None:
        while not stop.wait(_LOOK_SECONDS):
            look()

    look()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()


def _beam_args(work: Work, config: BeamConfig) -> list[str] | None:
    """Returns Beam's options, or None where a pipeline would do no more than this process does."""
    # No options mean one worker in this process.
    if work.beam_bytes < BEAM_ABOVE_BYTES:
        return None
    return beam_pipeline_args(config, work.beam_bytes, SETUP_FILE) or None


def _reads(job: PartJob) -> list[str]:
    return [path for path in (job.rows_file, job.model_path, job.schema_file) if path is not None]


def _writes(job: PartJob) -> list[str]:
    files = [Path(job.folder) / part_name(job.part, job.parts, part_format) for part_format in job.formats]
    # The record last: it says that the files are there.
    return [str(path) for path in (*files, record_path(job.records, job.part))]


def _staged(job: PartJob, table: pa.Table, folder: Path) -> PartJob:
    path = folder / f"part-{job.part:05d}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return job.model_copy(update={"rows_file": str(path)})
