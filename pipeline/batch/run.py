"""One batch, from the look at its input to its manifest."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from importlib import metadata as installed
from pathlib import Path
from typing import Any

from components.bulk_inferrer.model_rows import examples_signature, metadata_of, raw_columns
from components.bulk_inferrer.part import PartFormat, PartJob, is_whole
from pipeline.batch.checks import check_input, count_rows
from pipeline.batch.folder import OutputFolder, check_same
from pipeline.batch.released_model import ReleasedModel, check_model, find_model
from pipeline.batch.source import BatchInput, find_input
from pipeline.batch.work import Observer, Work, carry_out, observed, runner_of
from pipeline.beam_runner import check_runner
from pipeline.code_digest import code_digest
from pipeline.logs import quiet_to_file
from pipeline.state import State
from schema.base import sha256_json
from schema.errors import ConveyorError
from schema.loading import LoadedLine
from serving.client.rules import ColumnRule, read_rules
from serving.client.signatures import Metadata
from serving.signing.trust import Trust

ENTRY_MODULES = ("components.bulk_inferrer.part", "components.bulk_inferrer.part_rows")
ROWS_PER_PART = 50_000


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """How a batch is to be done.

    Attributes:
        input: a table file, or a span of the line.
        output: the output folder.
        formats: what is written.
        keys: key columns.
        model_version: the version, or None for the live one.
        signature_name: the signature that is called.
        rows_per_part: rows a part.
        with_schema: whether rows are held against the curated schema.
        trust: whose signature the model must have, or None where it needs none.
    """

    input: str
    output: Path
    formats: tuple[PartFormat, ...] = ("parquet", "tfrecord")
    keys: tuple[str, ...] = ()
    model_version: int | None = None
    signature_name: str = "serving_default"
    rows_per_part: int = ROWS_PER_PART
    with_schema: bool = True
    trust: Trust | None = None


@dataclasses.dataclass(frozen=True)
class BatchReport:
    """What became of a batch.

    Attributes:
        manifest: the manifest.
        made: how many of its parts were made now; the others were there.
        unused: columns of the input that the model does not take; empty where nothing was to be done.
        lacking: columns of the model that the input lacks; likewise.
    """

    manifest: Mapping[str, Any]
    made: int
    unused: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def bad_rows(self) -> int:
        """How many rows have no prediction."""
        return int(self.manifest["rows_out"] - self.manifest["rows_predicted"])


def run_batch(loaded: LoadedLine, state: State, options: BatchOptions, cwd: Path, observe: Observer) -> BatchReport:
    """Makes what is still missing of a batch.

    Args:
        loaded: the line config.
        state: the line's state.
        options: how it is to be done.
        cwd: where relative paths of the options start.
        observe: is called with the parts that are whole and the number of all parts, whenever one more is whole.

    Raises:
        UsageError: input, columns, options or what is in the folder do not fit.
        ReleaseError: there is no such model, or it is not the one that was released.
        LineBusy: another batch writes to the folder.
        DataRejected: a column has another type than the model's.
        RunnerError: Beam's runner cannot be reached.
        ConveyorError: anything else went wrong on the way.
    """
    found = find_input(options.input, loaded.line.examples, loaded.base_dir, cwd)
    model = find_model(state.ledger, state.base_path(loaded.line.pusher.push_destination), options.model_version)
    schema = (loaded.base_dir / loaded.line.schema_.file).resolve()
    schema_file = schema if options.with_schema and schema.is_file() else None
    identity = _identity(loaded, found, model, options, schema_file)
    folder = OutputFolder(cwd / options.output)
    with folder.locked():
        before = folder.manifest() or folder.plan()
        if before is not None:
            check_same(folder.path, before["identity"], identity)
        finished = folder.manifest()
        if finished is not None:
            whole = [part for part in finished["parts"] if is_whole(folder.path, part)]
            if len(whole) == len(finished["parts"]):
                return BatchReport(finished, 0)
            folder.begin({name: finished[name] for name in ("identity", "rows_in", "keys", "started")})
            for part in whole:
                folder.keep(part)
        return _go_on(_Batch(loaded, state, options, found, model, identity, schema_file, folder), observe)


@dataclasses.dataclass(frozen=True)
class _Batch:
    loaded: LoadedLine
    state: State
    options: BatchOptions
    found: BatchInput
    model: ReleasedModel
    identity: Mapping[str, Any]
    schema_file: Path | None
    folder: OutputFolder


def _go_on(batch: _Batch, observe: Observer) -> BatchReport:
    folder, options = batch.folder, batch.options
    begun = time.monotonic()
    folder.work.mkdir(exist_ok=True)
    with quiet_to_file(folder.log):
        try:
            check_model(batch.model, options.trust)
            metadata = _metadata(batch)
            rules: Mapping[str, ColumnRule] = read_rules(batch.schema_file) if batch.schema_file else {}
            columns = check_input(batch.found.source, metadata, rules, options.keys)
            plan = folder.plan() or _plan(batch)
            folder.begin(plan)
            work = Work(
                source=batch.found.source,
                columns=(*raw_columns(metadata), *options.keys),
                rows_per_part=options.rows_per_part,
                job=_job(batch, plan),
                rows=plan["rows_in"],
            )
            todo = [part for part in range(work.job.parts) if folder.record(part) is None]
            with observed(folder, work.job.parts, observe):
                where = ", ".join(map(str, batch.loaded.files))
                check = functools.partial(check_runner, batch.loaded.line, _places(work.job), where)
                carry_out(work, todo, batch.loaded.line.beam, folder, check)
        except ConveyorError:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("the batch failed")
            first = (str(error).splitlines() or [""])[0]
            raise ConveyorError(
                f"a batch must come to its end. Got {type(error).__name__}: {first} instead",
                hint=f"see {folder.log}; the same command goes on where this one stopped",
            ) from error
    manifest = _manifest(batch, plan, runner_of(work, batch.loaded.line.beam), time.monotonic() - begun)
    folder.finish(manifest)
    return BatchReport(manifest, len(todo), columns.unused, columns.lacking)


def _identity(
    loaded: LoadedLine, found: BatchInput, model: ReleasedModel, options: BatchOptions, schema_file: Path | None
) -> dict[str, Any]:
    """Returns what decides the bytes of every part: a batch goes on only where all of it is the same."""
    return {
        "line": loaded.line.name,
        "input": [[file.name, file.sha256] for file in found.source.files],
        "spans": list(found.spans),
        "reading": {
            "format": found.source.format,
            "missing_values": sorted(set(found.source.missing_values)),
            "span_by": None if found.source.span_by is None else found.source.span_by.model_dump(mode="json"),
        },
        "schema": "" if schema_file is None else hashlib.sha256(schema_file.read_bytes()).hexdigest(),
        "model_version": model.version,
        "model_digest": model.digest,
        "signature_name": options.signature_name,
        "key": list(options.keys),
        "format": list(options.formats),
        "rows_per_part": options.rows_per_part,
        "code": code_digest(ENTRY_MODULES),
        "pyarrow": installed.version("pyarrow"),
    }


def _metadata(batch: _Batch) -> Metadata:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((batch.model.path / "saved_model.pb").read_bytes())
    defs: Mapping[str, Any] = next(
        (graph.signature_def for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags), {}
    )
    found = metadata_of(defs, batch.loaded.line.name, batch.model.version)
    examples_signature(found, batch.options.signature_name)
    return found


def _plan(batch: _Batch) -> dict[str, Any]:
    rows, keys = count_rows(batch.found.source, batch.options.keys)
    return {"identity": dict(batch.identity), "rows_in": rows, "keys": keys, "started": _now()}


def _job(batch: _Batch, plan: Mapping[str, Any]) -> PartJob:
    """Returns the job of the first part; the others differ in number and first row."""
    return PartJob(
        folder=str(batch.folder.path),
        records=str(batch.folder.work),
        part=0,
        parts=max(1, math.ceil(plan["rows_in"] / batch.options.rows_per_part)),
        first_row=0,
        files=tuple(file.name for file in batch.found.source.files),
        # In the order of the command line, which the JSON of a plan does not keep.
        keys={name: plan["keys"][name] for name in batch.options.keys},
        formats=batch.options.formats,
        line=batch.loaded.line.name,
        model_path=str(batch.model.path),
        model_version=batch.model.version,
        model_digest=batch.model.digest,
        signature_name=batch.options.signature_name,
        schema_file=None if batch.schema_file is None else str(batch.schema_file),
        schema_digest=batch.identity["schema"],
    )


def _places(job: PartJob) -> dict[str, str]:
    found = {"--output": job.folder, "pusher.push_destination": job.model_path}
    return found if job.schema_file is None else {**found, "schema.file": job.schema_file}


def _manifest(batch: _Batch, plan: Mapping[str, Any], runner: Sequence[str], seconds: float) -> dict[str, Any]:
    parts = batch.folder.made()
    return {
        "line": batch.loaded.line.name,
        "model_version": batch.model.version,
        "model_digest": batch.model.digest,
        "run_id": batch.model.run_id,
        "signature_name": batch.options.signature_name,
        "config_digest": sha256_json(batch.loaded.line.model_dump(mode="json", by_alias=True)),
        "input": [file.model_dump(mode="json") for file in batch.found.source.files],
        "spans": list(batch.found.spans),
        "rows_in": plan["rows_in"],
        "rows_out": sum(part["rows"] for part in parts),
        "rows_predicted": sum(part["predicted"] for part in parts),
        "runner": list(runner),
        "started": plan["started"],
        "finished": _now(),
        "seconds": round(seconds, 3),
        "parts": parts,
        "identity": dict(batch.identity),
        "keys": plan["keys"],
    }


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
