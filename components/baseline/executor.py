"""Executor of ServedModel."""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.proto.orchestration import execution_result_pb2

from components.baseline.strategy import ServedModelStrategy


class Executor(base_executor.BaseExecutor):
    """Looks the live model up."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """See `ServedModel`.

        Raises:
            ReleaseError: the ledger is damaged, or the live model is nowhere to be found.
        """
        strategy = ServedModelStrategy(exec_properties["ledger"])
        found = strategy.resolve_artifacts(None, {"candidate": input_dict["candidate"], "model": []})["model"]
        output = execution_result_pb2.ExecutorOutput()
        output.output_artifacts["model"].artifacts.extend(artifact.mlmd_artifact for artifact in found)
        return output
