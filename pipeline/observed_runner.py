"""BeamDagRunner whose nodes tell when they start and end. Imports TFX: import it when a run starts, not before."""

from __future__ import annotations

import time
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.portable import launcher, partial_run_utils
from tfx.orchestration.portable.mlmd import execution_lib

from pipeline.events import NodeEvent, NodeState, tell


class ObservedNode(beam_dag_runner.PipelineNodeAsDoFn):  # type: ignore[misc]
    """A node that tells the run's listener when it starts and ends."""

    def _run_node(self) -> None:
        node = self._node_id
        runtime_spec = self._pipeline_runtime_spec
        run_id = runtime_spec.pipeline_run_id.field_value.string_value
        tell(run_id, NodeEvent(node, "running"))
        started = time.monotonic()
        try:
            self._take()
            info = launcher.Launcher(
                pipeline_node=self._pipeline_node,
                mlmd_connection=metadata.Metadata(self._mlmd_connection_config),
                pipeline_info=self._pipeline_info,
                pipeline_runtime_spec=runtime_spec,
                executor_spec=self._executor_spec,
                platform_config=self._extract_platform_config(self._deployment_config, node),
                custom_driver_spec=self._custom_driver_spec,
            ).launch()
            state, outputs = self._result(info)
        except BaseException as error:
            tell(run_id, NodeEvent(node, "failed", time.monotonic() - started, error))
            raise
        tell(run_id, NodeEvent(node, state, time.monotonic() - started, outputs=outputs))

    def _take(self) -> None:
        """Makes the artifacts that a partial run takes from an earlier one known as this run's own."""
        if not self._pipeline_node.execution_options.run.perform_snapshot:
            return
        with metadata.Metadata(self._mlmd_connection_config) as handle:
            partial_run_utils.snapshot(handle, self._pipeline)

    def _result(self, info: Any) -> tuple[NodeState, dict[str, list[Any]]]:
        if info is None or info.execution_id is None:
            return "skipped", {}
        with metadata.Metadata(self._mlmd_connection_config) as handle:
            execution = handle.store.get_executions_by_id([info.execution_id])[0]
            if execution.last_known_state == metadata_store_pb2.Execution.FAILED:
                # The launcher publishes a failure to resolve inputs and returns as if nothing had happened.
                raise RuntimeError(f"{self._node_id} could not resolve its inputs; see the run's log")
            outputs = execution_lib.get_output_artifacts(handle, info.execution_id)
        cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
        return ("cached" if cached else "done"), {key: list(value) for key, value in outputs.items()}


class ObservedBeamDagRunner(beam_dag_runner.BeamDagRunner):  # type: ignore[misc]
    """BeamDagRunner of observed nodes."""

    _PIPELINE_NODE_DO_FN_CLS = ObservedNode
