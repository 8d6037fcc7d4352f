"""The local runner: TFX's BeamDagRunner, with an event for each node that starts and ends."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from pipeline.events import Listener, NodeEvent, listening

LOCAL_RUNNER = "pipeline.local_beam.LocalRunner"


def run_dag(pipeline: Any, run_id: str, listener: Listener, *, until: str | None = None) -> None:
    """Carries out a TFX pipeline in this process.

    Args:
        pipeline: the TFX pipeline.
        run_id: becomes the pipeline run id in ML Metadata.
        listener: is called for each node that starts or ends, from Beam's threads.
        until: the id of the last node wanted; nodes that it does not need are left out.

    Raises:
        Exception: what the failing node raised.
    """
    from tfx.dsl.compiler import compiler, constants
    from tfx.orchestration.portable import partial_run_utils, runtime_parameter_utils

    from pipeline.observed_runner import ObservedBeamDagRunner

    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    if until is not None:
        partial_run_utils.mark_pipeline(ir, to_nodes=[until])
    failures: list[BaseException] = []

    def record(event: NodeEvent) -> None:
        if event.error is not None:
            failures.append(event.error)
        listener(event)

    try:
        with listening(run_id, record), beam_stays_here():
            ObservedBeamDagRunner().run_with_ir(ir)
    except Exception:
        if failures:
            raise failures[0] from None
        raise


@contextlib.contextmanager
def beam_stays_here() -> Iterator[None]:
    """Runs a block whose Beam pipelines, unless they say otherwise, take our runner and no flags of ours."""
    from apache_beam.options.pipeline_options import StandardOptions

    # Beam reads sys.argv for options that nobody has given. TFX makes the pipeline that starts the nodes with none.
    argv, runner = sys.argv, StandardOptions.DEFAULT_RUNNER
    sys.argv, StandardOptions.DEFAULT_RUNNER = argv[:1], LOCAL_RUNNER
    try:
        yield
    finally:
        sys.argv, StandardOptions.DEFAULT_RUNNER = argv, runner
