"""The local runner: TFX's BeamDagRunner, with an event for each node that starts and ends."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

from pipeline.events import Listener, NodeEvent, listening

LOCAL_RUNNER = "pipeline.local_beam.LocalRunner"


@dataclasses.dataclass(frozen=True)
class Partial:
    """What of a DAG is done otherwise than by default.

    Attributes:
        until: the id of the last node wanted; nodes that it does not need are left out.
        forced: nodes that do their work anew although it is cached.
        taken: nodes that are left out, and whose artifacts are taken from an earlier run.
        source: the id of that run.
    """

    until: str | None = None
    forced: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    source: str | None = None


def run_dag(pipeline: Any, run_id: str, listener: Listener, partial: Partial | None = None) -> None:
    """Carries out a TFX pipeline in this process.

    Args:
        pipeline: the TFX pipeline.
        run_id: becomes the pipeline run id in ML Metadata.
        listener: is called for each node that starts or ends, from Beam's threads.
        partial: what is done otherwise than by default.

    Raises:
        Exception: what the failing node raised.
    """
    from tfx.dsl.compiler import compiler, constants
    from tfx.orchestration.portable import runtime_parameter_utils

    from pipeline.observed_runner import ObservedBeamDagRunner

    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    _mark(ir, partial or Partial())
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


def _mark(ir: Any, partial: Partial) -> None:
    from tfx.orchestration.portable import partial_run_utils
    from tfx.proto.orchestration import pipeline_pb2

    for node in ir.nodes:
        if node.pipeline_node.node_info.id in partial.forced:
            # Executors see it too, and set aside what they remember (components/done_anew.py).
            node.pipeline_node.execution_options.caching_options.enable_cache = False
    if partial.until is None and not partial.taken:
        return
    names = [node.pipeline_node.node_info.id for node in ir.nodes]
    settings = pipeline_pb2.SnapshotSettings()
    if partial.source is not None:
        partial_run_utils.set_base_pipeline_run_strategy(settings, partial.source)
    else:
        partial_run_utils.set_latest_pipeline_run_strategy(settings)
    partial_run_utils.mark_pipeline(
        ir,
        from_nodes=[name for name in names if name not in partial.taken],
        to_nodes=[partial.until] if partial.until else None,
        snapshot_settings=settings,
    )


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
