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
from components.trainer.checkpoint import forget_trainings
from components.tuner.earlier import read_earlier_search
from data.window import locate
from pipeline import identities
from pipeline import record as records
from pipeline.beam_options import SETUP_FILE, beam_pipeline_args
from pipeline.beam_runner import check_runner
from pipeline.code_digest import PROJECT_ROOT
from pipeline.events import NodeEvent
from pipeline.excluded import count_excluded
from pipeline.findings import describe_artifact, finding
from pipeline.identity import code_diff, new_run_id, provenance
from pipeline.inputs import RunInputs
from pipeline.logs import quiet_to_file
from pipeline.metadata_server import check_metadata_server
from pipeline.options import RunOptions
from pipeline.outcome import evaluated_slices, read_outcome
from pipeline.plan import Plan, make_plan
from pipeline.record import RunRecord
from pipeline.runner import run_dag
from pipeline.signing import with_key_id
from pipeline.snapshot import keep as keep_snapshot
from pipeline.snapshot import keep_search
from pipeline.state import State, write_json
from pipeline.trace.kept import keep as keep_trace
from pipeline.unchanged import inputs_digest, repeat_of, take_over
from pipeline.verdict import Verdict, verdict_of_error
from schema.base import sha256_json
from schema.errors import ConveyorError
from schema.loading import LoadedLine
from schema.orchestration import NODES

Observer = Callable[[RunRecord], None]


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
    options.check()
    with state.locked(wait_seconds=options.wait_seconds):
        plan = make_plan(loaded, state, options)
        again = plan.options.repeat_search
        inputs = dataclasses.replace(plan.inputs, search=read_earlier_search(again) if again else None)
        if inputs.signing is not None:
            pushes = plan.options.until in (None, "Pusher")
            signing = with_key_id(inputs.signing, loaded, os.environ) if pushes else None
            inputs = dataclasses.replace(inputs, signing=signing)
        diff = code_diff(PROJECT_ROOT)
        plan = dataclasses.replace(plan, inputs=inputs)
        run = _new_record(loaded, inputs, diff)
        plan.write_to(run)
        started = time.monotonic()
        earlier = repeat_of(state, run.inputs_digest) if plan.may_repeat else None
        if earlier is not None:
            take_over(run, earlier)
        else:
            if inputs.sources is not None:
                inputs.sources.write(records.run_folder(state, run.run_id))
            records.save(state, run)
            keep_snapshot(records.run_folder(state, run.run_id), loaded.line, inputs.schema_file, diff)
            observe(run)
            log = records.run_folder(state, run.run_id) / "log.txt"
            with quiet_to_file(log, secrets=tuple(loaded.secrets.values())):
                run.verdict = _carry_out(loaded, state, plan, run, observe).to_dict()
                _keep_what_was_made(state, run)
        run.seconds = round(time.monotonic() - started, 3)
        run.finished = _now()
        count_excluded(run)
        keep_trace(state, run)
        records.save(state, run)
        observe(run)
    return run


def _keep_what_was_made(state: State, run: RunRecord) -> None:
    folder = records.run_folder(state, run.run_id)
    try:
        identities.write(folder, identities.identities(run.outputs.items()))
        keep_search(folder, run.outputs.get("Tuner", {}))
    except (ConveyorError, OSError, ValueError):
        # What the run has released stays released; a rebuild says what it cannot compare.
        logging.getLogger(__name__).exception("the identities of run %s could not be kept", run.run_id)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def _new_record(loaded: LoadedLine, inputs: RunInputs, diff: bytes | None) -> RunRecord:
    config = loaded.line.model_dump(mode="json", by_alias=True)
    return RunRecord(
        run_id=new_run_id(),
        line=loaded.line.name,
        started=_now(),
        config=config,
        config_digest=sha256_json(config),
        base_dir=str(loaded.base_dir),
        inputs_digest=inputs_digest(loaded.line, inputs),
        provenance=dataclasses.asdict(provenance(diff=diff)),
        window=json.loads(inputs.window.to_json()),
        warm_start=inputs.warm_start[1] if inputs.warm_start else None,
        search=inputs.search.run_id if inputs.search else None,
    )


def _carry_out(loaded: LoadedLine, state: State, plan: Plan, run: RunRecord, observe: Observer) -> Verdict:
    options, inputs = plan.options, plan.inputs
    listener = _Listener(state, run, observe)
    validates = options.until is None or NODES.index(options.until) >= NODES.index("InfraValidator")
    where = ", ".join(map(str, loaded.files))
    try:
        if loaded.line.metadata.backend == "mysql":
            from pipeline.graph import metadata_connection_config

            check_metadata_server(metadata_connection_config(loaded.line.metadata, state, loaded.secrets), where)
        places = {"CONVEYOR_HOME": state.root, "examples.input": locate(loaded.line.examples.input, loaded.base_dir)}
        if inputs.exclusions is not None:
            places["examples.exclude_rows"] = inputs.exclusions.path
        check_runner(loaded.line, places, where)
        if options.as_compiled:
            _execute_compiled(loaded, state, inputs, run, listener)
        else:
            # The probe's import of TensorFlow goes on beside ours.
            with standing_by() if validates else contextlib.nullcontext():
                from pipeline.graph import create_pipeline

                args = beam_pipeline_args(loaded.line.beam, inputs.input_bytes, SETUP_FILE)
                pipeline = create_pipeline(loaded.line, inputs, state, beam_args=args, secrets=loaded.secrets)
                if "Trainer" in plan.forced:
                    forget_trainings(state.root)
                run_dag(pipeline, run.run_id, listener, plan.partial)
        if options.until is not None:
            run.slices = evaluated_slices(run.outputs)
            return Verdict("stopped")
        verdict, run.slices = read_outcome(
            run.outputs,
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
