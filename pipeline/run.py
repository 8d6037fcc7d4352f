"""One run of a line, from the look at its data to the verdict."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from components.infra_validator.process import standing_by
from data.window import locate
from pipeline import record as records
from pipeline.beam_options import SETUP_FILE, beam_pipeline_args
from pipeline.beam_runner import check_runner
from pipeline.events import NodeEvent
from pipeline.findings import describe_artifact, finding
from pipeline.identity import new_run_id, provenance
from pipeline.inputs import RunInputs, resolve_inputs
from pipeline.logs import quiet_to_file
from pipeline.metadata_server import check_metadata_server
from pipeline.outcome import read_outcome
from pipeline.record import RunRecord
from pipeline.runner import run_dag
from pipeline.state import State, write_json
from pipeline.unchanged import inputs_digest, repeat_of, take_over
from pipeline.verdict import Verdict, verdict_of_error
from schema.base import sha256_json
from schema.errors import UsageError
from schema.loading import LoadedLine
from schema.orchestration import NODES

Observer = Callable[[RunRecord], None]


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a run is to be done.

    Attributes:
        span: `all`, `latest`, or the newest span of the window by number or label.
        until: the last node wanted, or None for all.
        wait_seconds: how long to wait for another run of the line; 0 refuses at once.
        as_compiled: carry out the pipeline spec that `conveyor compile` would write, a process a step, instead of the
            local DAG; every step is done anew.
    """

    span: str = "all"
    until: str | None = None
    wait_seconds: float = 0.0
    as_compiled: bool = False


def run_line(loaded: LoadedLine, state: State, options: RunOptions, observe: Observer) -> RunRecord:
    """Runs a line and returns its record, verdict included.

    Args:
        loaded: the line config.
        state: the line's state.
        options: how the run is to be done.
        observe: is called with the record whenever it has changed.

    Raises:
        LineBusy: another run holds the line.
        SpanError: the window is empty or has a gap.
        ConfigError: the config does not fit.
    """
    if options.until is not None and options.until not in NODES:
        raise UsageError(f"--until must be one of {', '.join(NODES)}. Got {options.until!r} instead")
    if options.until is not None and options.as_compiled:
        raise UsageError("--until must not be given with --as-compiled: a compiled pipeline runs as a whole")
    with state.locked(wait_seconds=options.wait_seconds):
        inputs = resolve_inputs(loaded, state, span=options.span)
        run = _new_record(loaded, inputs)
        started = time.monotonic()
        earlier = None if options.until or options.as_compiled else repeat_of(state, run.inputs_digest)
        if earlier is not None:
            take_over(run, earlier)
        else:
            records.save(state, run)
            observe(run)
            log = records.run_folder(state, run.run_id) / "log.txt"
            with quiet_to_file(log, secrets=tuple(loaded.secrets.values())):
                run.verdict = _carry_out(loaded, state, options, inputs, run, observe).to_dict()
        run.seconds = round(time.monotonic() - started, 3)
        run.finished = _now()
        records.save(state, run)
        observe(run)
    return run


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def _new_record(loaded: LoadedLine, inputs: RunInputs) -> RunRecord:
    config = loaded.line.model_dump(mode="json", by_alias=True)
    return RunRecord(
        run_id=new_run_id(),
        line=loaded.line.name,
        started=_now(),
        config=config,
        config_digest=sha256_json(config),
        inputs_digest=inputs_digest(loaded.line, inputs),
        provenance=dataclasses.asdict(provenance()),
        window=json.loads(inputs.window.to_json()),
    )


def _carry_out(
    loaded: LoadedLine, state: State, options: RunOptions, inputs: RunInputs, run: RunRecord, observe: Observer
) -> Verdict:
    listener = _Listener(state, run, observe)
    validates = options.until is None or NODES.index(options.until) >= NODES.index("InfraValidator")
    where = ", ".join(map(str, loaded.files))
    try:
        if loaded.line.metadata.backend == "mysql":
            from pipeline.graph import metadata_connection_config

            check_metadata_server(metadata_connection_config(loaded.line.metadata, state, loaded.secrets), where)
        places = {"CONVEYOR_HOME": state.root, "examples.input": locate(loaded.line.examples.input, loaded.base_dir)}
        check_runner(loaded.line, places, where)
        if options.as_compiled:
            _execute_compiled(loaded, state, inputs, run, listener)
        else:
            # The probe's import of TensorFlow goes on beside ours.
            with standing_by() if validates else contextlib.nullcontext():
                from pipeline.graph import create_pipeline

                args = beam_pipeline_args(loaded.line.beam, inputs.input_bytes, SETUP_FILE)
                pipeline = create_pipeline(loaded.line, inputs, state, beam_args=args, secrets=loaded.secrets)
                run_dag(pipeline, run.run_id, listener, until=options.until)
        if options.until is not None:
            return Verdict("stopped")
        verdict, run.slices = read_outcome(
            {node.node: node.outputs for node in run.nodes},
            pusher_cached=run.node("Pusher").state == "cached",
            ledger=state.ledger,
        )
        return verdict
    except Exception as error:
        logging.getLogger(__name__).exception("run %s failed", run.run_id)
        return verdict_of_error(error)


def _execute_compiled(
    loaded: LoadedLine, state: State, inputs: RunInputs, run: RunRecord, listener: Callable[[NodeEvent], None]
) -> None:
    from pipeline.compiled.execution import execute
    from pipeline.compiled.job import Place, compile_job

    image = loaded.line.orchestration.image or "this installation"
    job = compile_job(loaded, inputs, Place(image, str(state.compiled_root), state.root))
    folder = records.run_folder(state, run.run_id)
    write_json(folder / "pipeline_job.json", job)
    # From the file, so that nothing is used that the JSON does not say.
    written = json.loads((folder / "pipeline_job.json").read_text(encoding="utf-8"))
    execute(written, run.run_id, listener, log=folder / "steps.txt")


class _Listener:
    """Keeps the record up to date while nodes start and end."""

    def __init__(self, state: State, run: RunRecord, observe: Observer) -> None:
        self._state = state
        self._run = run
        self._observe = observe
        self._lock = threading.Lock()
        self._events = records.run_folder(state, run.run_id) / "events.jsonl"

    def __call__(self, event: NodeEvent) -> None:
        outputs: dict[str, list[dict[str, Any]]] = {
            key: [describe_artifact(artifact) for artifact in artifacts] for key, artifacts in event.outputs.items()
        }
        with self._lock:
            node = self._run.node(event.node)
            node.state, node.seconds, node.outputs = event.state, round(event.seconds, 3), outputs
            node.finding = str(event.error).splitlines()[0] if event.error else finding(event.node, outputs)
            with self._events.open("a", encoding="utf-8") as events:
                line = {"at": _now(), "node": event.node, "state": event.state, "seconds": node.seconds}
                events.write(json.dumps(line) + "\n")
                events.flush()
                os.fsync(events.fileno())
            records.save(self._state, self._run)
            self._observe(self._run)
