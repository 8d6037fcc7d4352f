"""Executor of Transform: analyses of spans, then TFT's own tracing of the graph."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.carried_files import Carried
from components.done_anew import done_anew
from components.transform.analysis import Analysis, merge_all
from components.transform.choices import choose
from components.transform.compile import compile_recipe
from components.transform.counts import DEFAULT_CAPACITY
from components.transform.label import plan_label
from components.transform.plan import FeaturePlan, save_plan
from components.transform.raw_columns import RawColumns, raw_columns
from components.transform.recipe import RECIPE_FILE
from components.transform.spans import SpanFiles, analysis_path, analyze_span, group_spans, read_analysis
from components.transform.user_features import plan_of_graph
from data.worker_errors import raised_here
from schema.errors import ConfigError, DataRejected
from schema.features import Categorical, TransformConfig
from schema.ingest import Label

ANALYSIS_FOLDER = "analysis"
OWN_FOLDER = "own"
"""Below the analyses: what spans contributed to the analyzers of a line's own function."""

RECIPE_FOLDER = "recipe"
IN_PROCESS_BYTES = 16 << 20
"""Less (compressed) data than this is analysed in this process: a Beam pipeline alone would take longer."""

_BUILT_IN = "components.transform.preprocessing.preprocessing_fn"
_WITH_OWN = "components.transform.own_function.preprocessing_fn"


@dataclass(frozen=True)
class _Task:
    """What there is to trace.

    Attributes:
        config: the component's config, as it came.
        transform: its section `transform`.
        label: its section `label`.
        columns: the columns of the data schema.
        analysis: the merged analysis of the spans.
        input_dict: TFX's input artifacts.
        output_dict: TFX's output artifacts.
    """

    config: dict[str, Any]
    transform: TransformConfig
    label: Label
    columns: RawColumns
    analysis: Analysis
    input_dict: dict[str, list[Any]]
    output_dict: dict[str, list[Any]]

    @property
    def uri(self) -> str:
        """The folder of the transform graph."""
        return str(artifact_utils.get_single_uri(self.output_dict["transform_graph"]))


class TransformExecutor(base_beam_executor.BaseBeamExecutor):
    """Analyses the spans that are new, merges, computes a recipe and has TFX's Transform trace it.

    A line's own function is analysed by TFT, span by span too where its analyzers allow it.
    """

    def Do(  # noqa: N802 (TFX's name)
        self, input_dict: dict[str, list[Any]], output_dict: dict[str, list[Any]], exec_properties: dict[str, Any]
    ) -> None:
        """Runs the component.

        Args:
            input_dict: `examples`: Examples with a train split of span files; `schema`: one Schema.
            output_dict: `transform_graph`: one TransformGraph.
            exec_properties: `config`, `code_digest`, `state_dir`.

        Raises:
            ConfigError: the config does not fit the data.
        """
        from tfx.utils import io_utils

        config = json.loads(exec_properties["config"])
        transform = TransformConfig.model_validate(config["transform"])
        label = Label.model_validate(config["label"])
        folder = artifact_utils.get_single_uri(input_dict["schema"])
        schema = io_utils.SchemaReader().read(os.path.join(folder, "schema.pbtxt"))
        columns = raw_columns(schema, label.name)
        if columns.label_type is None:
            raise ConfigError(
                f"label.name must be a column of the data schema. Got {label.name!r} instead",
                hint=f"columns are {', '.join(sorted(columns.types))}",
            )
        artifact = artifact_utils.get_single_instance(output_dict["transform_graph"])
        trains = artifact_utils.get_split_uris(input_dict["examples"], "train")

        own = transform.preprocessing_fn is not None
        analyzed = {label.name: columns.label_type}
        if not own:
            analyzed |= {c: t for c, t in columns.types.items() if c not in transform.exclude}
        spans = group_spans(trains, analyzed, _capacity(transform))
        state_dir = exec_properties["state_dir"]
        analysis, fresh = self._analysis(spans, analyzed, _capacity(transform), state_dir)
        if not analysis.rows:
            raise DataRejected("the train split must have records. Got none instead")

        task = _Task(config, transform, label, columns, analysis, input_dict, output_dict)
        if own:
            plan, fresh = self._trace_own(task, schema, spans, Path(state_dir) / ANALYSIS_FOLDER / OWN_FOLDER)
        else:
            plan = self._trace_built_in(task)
        save_plan(plan, artifact.uri)
        for name, value in (
            ("spans", len(spans)),
            ("spans_analyzed", fresh),
            ("features", len(plan.outputs)),
            ("columns_left_out", len(plan.left_out)),
        ):
            artifact.set_int_custom_property(name, value)

    def _analysis(
        self, spans: list[SpanFiles], columns: dict[str, str], capacity: int, state_dir: str
    ) -> tuple[Analysis, int]:
        """Returns the merged analysis in span order, and how many spans were not yet known."""
        folder = str(Path(state_dir) / ANALYSIS_FOLDER)
        if done_anew(self._context):
            for span in spans:
                analysis_path(folder, span).unlink(missing_ok=True)
        known = {span.key: read_analysis(analysis_path(folder, span)) for span in spans}
        pending = [span for span in spans if known[span.key] is None]
        if sum(os.path.getsize(p) for span in pending for p in span.paths) < IN_PROCESS_BYTES:
            for span in pending:
                analyze_span(span, columns, capacity, folder)
        elif pending:
            import apache_beam as beam

            with raised_here(folder) as noting, self._make_beam_pipeline() as pipeline:
                _ = (
                    pipeline
                    | "Spans" >> beam.Create(pending)
                    | "Spread" >> beam.Reshuffle()
                    | "Analyze"
                    >> beam.Map(Carried(analyze_span, _span_files, _analysis, noting), columns, capacity, folder)
                )
        for span in pending:
            known[span.key] = read_analysis(analysis_path(folder, span))
        return merge_all([a for a in (known[span.key] for span in spans) if a is not None]), len(pending)

    def _trace_built_in(self, task: _Task) -> FeaturePlan:
        config, columns, analysis = task.config, task.columns, task.analysis
        times = config.get("times") or {}
        choices = choose(task.transform, columns.types, analysis, nominal=columns.nominal, times=times)
        compiled = compile_recipe(choices, task.transform.crosses, analysis, task.label, config["task"])
        folder = Path(task.uri) / RECIPE_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECIPE_FILE).write_text(compiled.recipe.canonical() + "\n", encoding="utf-8")
        for name, entries in compiled.vocabularies.items():
            (folder / name).write_bytes(b"".join(entry + b"\n" for entry in entries))
        self._trace(_BUILT_IN, {"recipe_dir": str(folder)}, task)
        left_out = compiled.plan.left_out | {c: "not in the SERVING environment" for c in columns.not_served}
        return compiled.plan.model_copy(update={"left_out": left_out})

    def _trace_own(self, task: _Task, schema: Any, spans: list[SpanFiles], store: Path) -> tuple[FeaturePlan, int]:
        """Returns the plan, and of how many spans records were read."""
        from components.transform.own_analyzers import own_analyzers
        from components.transform.own_graph import write_graph
        from components.transform.own_store import forget

        label = plan_label(task.label, task.config["task"], task.analysis.columns[task.label.name])
        custom_config = {
            "preprocessing_fn": task.transform.preprocessing_fn,
            "label": label.model_dump(mode="json"),
            "label_type": task.columns.label_type,
            "config": task.config,
        }
        analyzers = own_analyzers(schema, custom_config)
        if analyzers is None:
            self._trace(_WITH_OWN, custom_config, task)
            fresh = 0
        else:
            if done_anew(self._context):
                for span in spans:
                    forget(store, analyzers.key_of(span))
            fresh = write_graph(analyzers, spans, store, Path(task.uri), self._make_beam_pipeline)
        served = {c: t for c, t in task.columns.types.items() if c not in task.transform.exclude}
        return plan_of_graph(task.uri, label, served, task.analysis), fresh

    def _trace(self, function: str, custom_config: dict[str, Any], task: _Task) -> None:
        """TFX's own executor, which traces a function without analyzers in place and reads no record.

        So its Beam pipeline, which writes the graph, runs right here: workers elsewhere would have nothing to do.
        """
        from tfx.components.transform import executor
        from tfx.utils import json_utils

        context = copy.copy(self._context)
        if context is not None:
            context.beam_pipeline_args = []
        executor.Executor(context).Do(
            task.input_dict,
            task.output_dict,
            {
                "preprocessing_fn": function,
                "custom_config": json_utils.dumps(custom_config),
                "disable_statistics": 1,
                "splits_config": json.dumps({"analyze": ["train"], "transform": ["train"]}),
            },
        )


def _span_files(span: SpanFiles, columns: Any, capacity: int, folder: str) -> Sequence[str]:
    return span.paths


def _analysis(span: SpanFiles, columns: Any, capacity: int, folder: str) -> Sequence[str]:
    return [str(analysis_path(folder, span))]


def _capacity(transform: TransformConfig) -> int:
    """Twice the largest vocabulary, so that its entries are exact in all but the most skewless data."""
    wanted = [f.top_k for f in transform.features.values() if isinstance(f, Categorical)]
    return max(DEFAULT_CAPACITY, 2 * max([transform.max_vocabulary, *wanted]))
