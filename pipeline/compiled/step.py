"""One step of a compiled pipeline: `python -m pipeline.compiled.step`, the command of every container.

TFX's own entry point could not do the job: it takes one artifact an output, throws away what an executor returns, and
knows no run id. It is given the same arguments, and reads them with the same functions.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.mounts import as_folder
from pipeline.beam_options import SETUP_FILE, with_own_setup_file
from pipeline.compiled import handover
from pipeline.compiled.custom_job import CUSTOM_JOB_ARG, run_custom_job
from pipeline.compiled.failures import ERROR_FILE, leave_failure
from schema.errors import ConveyorError

__all__ = ["ERROR_FILE", "main"]

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a step.

    Args:
        argv: `--executor_class_path`, `--json_serialized_invocation_args` (an ExecutorInput),
            `--json_serialized_inputs_spec_args` (a ComponentInputsSpec), `--run_id`, and options for Beam. With
            `--custom_job` (JSON) a Vertex custom job does the work, started with the same arguments otherwise.

    Returns:
        The exit code: 0, or that of the error.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    parser.add_argument("--run_id", required=True)
    parser.add_argument(CUSTOM_JOB_ARG)
    args, beam_args = parser.parse_known_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    step = _Step(
        args.executor_class_path,
        json.loads(args.json_serialized_invocation_args),
        args.json_serialized_inputs_spec_args,
        args.run_id,
        os.environ,
    )
    try:
        if args.custom_job:
            run_custom_job(json.loads(args.custom_job), args.run_id, step.folder, _without_custom_job(argv))
        else:
            step.run(with_own_setup_file(beam_args, SETUP_FILE))
    except ConveyorError as error:
        _LOG.error("%s", error)
        step.fail(error)
        return error.exit_code
    except Exception as error:
        _LOG.exception("the step failed")
        step.fail(error)
        return 1
    return 0


def _without_custom_job(argv: Sequence[str] | None) -> list[str]:
    given = list(sys.argv[1:] if argv is None else argv)
    at = given.index(CUSTOM_JOB_ARG)
    return given[:at] + given[at + 2 :]


class _Step:
    def __init__(
        self, executor: str, executor_input: dict[str, Any], inputs_spec: str, run_id: str, env: Mapping[str, str]
    ) -> None:
        self._executor = executor
        self._input = executor_input
        self._inputs_spec = inputs_spec
        self._run_id = run_id
        self._env = env
        self._output_file = Path(as_folder(executor_input["outputs"]["outputFile"], env))

    @property
    def folder(self) -> Path:
        """Where the executor output is to be written."""
        return self._output_file.parent

    def run(self, beam_args: Sequence[str]) -> None:
        """Carries the step out and writes its executor output."""
        from google.protobuf import json_format
        from kfp.pipeline_spec import pipeline_spec_pb2
        from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as tfx_steps
        from tfx.utils import import_utils

        from pipeline.runner import beam_stays_here

        message = json_format.ParseDict(self._input, pipeline_spec_pb2.ExecutorInput(), ignore_unknown_fields=True)
        spec = json_format.Parse(self._inputs_spec, pipeline_spec_pb2.ComponentInputsSpec(), ignore_unknown_fields=True)
        names: dict[int, str] = {}
        templates = tfx_steps.parse_raw_artifact_dict(message.outputs.artifacts, names)
        inputs = tfx_steps.parse_raw_artifact_dict(message.inputs.artifacts, names)
        outputs = {key: self._fresh(artifacts) for key, artifacts in templates.items()}
        properties = tfx_steps.parse_execution_properties(
            message.inputs.parameter_values, message.inputs.parameters, spec
        )
        executor_class = import_utils.import_class_by_path(self._executor)
        with beam_stays_here():
            result = executor_class(self._context(executor_class, beam_args)).Do(
                {key: self._expanded(artifacts) for key, artifacts in inputs.items()}, outputs, properties
            )
        written = pipeline_spec_pb2.ExecutorOutput()
        for key, artifacts in outputs.items():
            made = [artifact.mlmd_artifact for artifact in artifacts]
            if result is not None and key in result.output_artifacts:
                made = list(result.output_artifacts[key].artifacts)
            handover.leave(Path(artifacts[0].uri), made)
            (told,) = message.outputs.artifacts[key].artifacts
            runtime = tfx_steps.to_runtime_artifact(artifacts[0], names)
            runtime.name, runtime.uri = told.name, told.uri
            runtime.type.CopyFrom(told.type)
            written.artifacts[key].artifacts.append(runtime)
        self._output_file.parent.mkdir(parents=True, exist_ok=True)
        self._output_file.write_text(json_format.MessageToJson(written), encoding="utf-8")

    def fail(self, error: Exception) -> None:
        """Writes down what went wrong."""
        leave_failure(self.folder, error)

    def _fresh(self, artifacts: list[Any]) -> list[Any]:
        for artifact in artifacts:
            artifact.uri = as_folder(artifact.uri, self._env)
            artifact.id = handover.artifact_id(artifact.uri)
            # What an attempt that failed has left.
            shutil.rmtree(artifact.uri, ignore_errors=True)
            Path(artifact.uri).mkdir(parents=True)
        return artifacts

    def _expanded(self, artifacts: list[Any]) -> list[Any]:
        expanded: list[Any] = []
        for artifact in artifacts:
            artifact.uri = as_folder(artifact.uri, self._env)
            found = handover.take(Path(artifact.uri))
            if found is None:
                expanded.append(artifact)
                continue
            for proto in found:
                one = type(artifact)()
                one.set_mlmd_artifact(proto)
                expanded.append(one)
        return expanded

    def _context(self, executor_class: Any, beam_args: Sequence[str]) -> Any:
        from tfx.dsl.components.base import base_beam_executor, base_executor

        temporary = self._output_file.parent / ".temp"
        temporary.mkdir(parents=True, exist_ok=True)
        place = {
            "unique_id": self._output_file.parent.name,
            "tmp_dir": str(temporary) + os.sep,
            "pipeline_run_id": self._run_id,
        }
        if issubclass(executor_class, base_beam_executor.BaseBeamExecutor):
            return base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args), **place)
        return base_executor.BaseExecutor.Context(extra_flags=list(beam_args), **place)


if __name__ == "__main__":
    sys.exit(main())
