"""Executor of SpanExampleGen: plans by `ingest`, runs jobs in a Beam pipeline, links the store into the outputs."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils

from components.carried_files import Carried
from components.done_anew import done_anew
from components.span_example_gen.ingest import IngestRequest, ingest
from components.span_example_gen.store import QUARANTINE, SpanStore
from data.splits import split_names
from data.whole_file import link
from data.worker_errors import raised_here

EXAMPLES_KEY = "examples"
BEAM_ABOVE_BYTES = 16 << 20
"""Smaller inputs are read right here: setting up a Beam pipeline takes longer than reading them."""


class Executor(base_beam_executor.BaseBeamExecutor):
    """Makes one Examples artifact a span of the window."""

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Ingests the window.

        Args:
            input_dict: empty.
            output_dict: `examples`: the artifact whose URI the spans' artifacts lie under.
            exec_properties: `window`, `config`, `column_types`, `code_digest`, `state_dir`, `exclusions`; see the
                component.

        Returns:
            The span artifacts, oldest first.

        Raises:
            ConfigError: the config does not fit the data.
            SpanError: there is no row to train on.
            DataRejected: a span has too great a share of bad rows.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        request = IngestRequest.from_exec_properties(exec_properties)
        result = ingest(request, self._run_all, anew=done_anew(self._context))
        template = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        store = SpanStore(request.state_dir)
        output = execution_result_pb2.ExecutorOutput()
        for sidecar in result.sidecars:
            artifact = _span_artifact(template, sidecar, split_names(request.examples.splits))
            if request.exclusions is not None:
                artifact.set_string_custom_property("exclusions", request.exclusions.sha256)
                artifact.set_int_custom_property("excluded_rows", sidecar["excluded_rows"])
                artifact.set_int_custom_property("unmatched_exclusions", result.unmatched)
            _link_tree(store.entry(sidecar["ingest_key"]), Path(artifact.uri))
            output.output_artifacts[EXAMPLES_KEY].artifacts.append(artifact.mlmd_artifact)
        return output

    def _run_all(self, function: Callable[[Any], Any], jobs: Sequence[Any], input_bytes: int) -> None:
        """Runs jobs; their results are files, so that it does not matter which process makes them."""
        if not jobs:
            return
        if input_bytes < BEAM_ABOVE_BYTES or len(jobs) == 1:
            for job in jobs:
                function(job)
            return
        import apache_beam as beam

        with raised_here(self._get_tmp_dir()) as noting, self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Jobs" >> beam.Create(list(jobs), reshuffle=True)
                | "Run" >> beam.Map(Carried(_call, _reads, _writes, noting), function)
            )


def _call(job: Any, function: Callable[[Any], Any]) -> None:
    function(job)


def _reads(job: Any, function: Callable[[Any], Any]) -> Sequence[str]:
    return job.reads


def _writes(job: Any, function: Callable[[Any], Any]) -> Sequence[str]:
    return job.writes


def _span_artifact(template: types.Artifact, sidecar: dict[str, Any], splits: Sequence[str]) -> types.Artifact:
    """Returns the artifact of a span, at a direct sub-directory of the template's URI, as TFX demands."""
    artifact = type(template)()
    artifact.set_mlmd_artifact(copy.deepcopy(template.mlmd_artifact))
    artifact.uri = os.path.join(template.uri, f"span-{sidecar['span']:05d}")
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    artifact.span = sidecar["span"]
    artifact.version = sidecar["version"]
    # As TFX's own ExampleGen: TFXIO reads these two.
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    for name in ("fingerprint", "ingest_key", "label"):
        artifact.set_string_custom_property(name, sidecar[name])
    artifact.set_int_custom_property("rows", sum(sidecar["rows"].values()))
    return artifact


def _link_tree(entry: Path, target: Path) -> None:
    for source in sorted(entry.glob("Split-*/*")) + [entry / "span.json"]:
        link(source, target / source.relative_to(entry))
    if (entry / QUARANTINE).is_file():
        link(entry / QUARANTINE, target / QUARANTINE)
