"""What each span contributes to the analyzers of a line's own `preprocessing_fn`.

TFT would make the Beam stages of every analyzer once a span: sixteen spans of a thousand rows take a minute. Here there
is one set of stages, and each span is a window of its own: whatever combines, combines within a span. To say so, the
part of TFT's graph that leads to the contributions is built by TFT's own visitor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import analyzer_nodes, graph_tools, impl_helper, nodes
from tensorflow_transform.beam import analysis_graph_builder, analyzer_cache, analyzer_impls, beam_nodes, common
from tfx_bsl.public import tfxio

from components.transform.own_analyzers import TELEMETRY, NotBySpan, OwnAnalyzers
from components.transform.spans import SpanFiles
from data.whole_file import replacing
from schema.errors import DataRejected

BATCH_ROWS = 4_096
"""Fixed, because float sums of other batches have other last digits."""

ROWS_COUNTER = ("conveyor", "rows_analyzed")

_WITHIN_A_WINDOW = (
    beam_nodes.CreateSavedModel,
    beam_nodes.ExtractInputForSavedModel,
    beam_nodes.ApplySavedModel,
    beam_nodes.ExtractFromDict,
    analyzer_nodes.CacheableCombinePerKeyAccumulate,
    analyzer_nodes.VocabularyAccumulate,
    analyzer_nodes.EncodeCache,
)
"""What TFT's visitor builds of element-wise and keyed transforms only, which keep to their window."""


class _SpanVisitor(common.ConstructBeamPipelineVisitor):
    """Builds TFT's graph over windows."""

    def visit(self, operation: Any, inputs: Any) -> Any:
        # TFT combines globally with a default for no input at all, which Beam has in the global window only.
        if isinstance(operation, analyzer_nodes.PackedCombineAccumulate):
            combine = analyzer_impls._PackedCombinerWrapper(operation.combiners, is_combining_accumulators=False)
        elif isinstance(operation, analyzer_nodes.CacheableCombineAccumulate):
            combine = analyzer_impls._CombinerWrapper(operation.combiner, is_combining_accumulators=False)
        elif isinstance(operation, _WITHIN_A_WINDOW):
            return super().visit(operation, inputs)
        else:
            raise NotBySpan(f"{operation.label} is a {type(operation).__name__}")
        return (inputs[0] | operation.label >> beam.CombineGlobally(combine).without_defaults(),)


def write_accumulators(
    pipeline: Any,
    analyzers: OwnAnalyzers,
    spans: Sequence[SpanFiles],
    folder: Path,
    noting: Callable[..., Any],
) -> None:
    """Adds to a pipeline what reads spans and writes their contributions. Called in a context of TFT.

    Args:
        pipeline: a Beam pipeline.
        analyzers: what to compute.
        spans: the spans.
        folder: gets `<index of the span>/<index of the entry>`, a GZIP TFRecord file in TFT's encoding, its records in
            bytewise order; none where a span contributes nothing.
        noting: see `data.worker_errors`.

    Raises:
        NotBySpan: an analyzer cannot be computed within a window.
    """
    batches = read_batches(pipeline, analyzers, spans, noting) | "OneWindowASpan" >> beam.WindowInto(FixedWindows(1))
    contributions = _contributions(pipeline, batches, analyzers)
    _ = (
        [
            records | f"Tag[{i}]" >> beam.Map(_tagged, i)
            for i, (_, records) in enumerate(sorted(contributions.items(), key=lambda item: item[0]))
        ]
        | "Together" >> beam.Flatten(pipeline=pipeline)
        | "ByEntry" >> beam.GroupByKey()
        | "Write" >> beam.Map(_write, str(folder))
    )


def read_batches(pipeline: Any, analyzers: OwnAnalyzers, spans: Sequence[SpanFiles], noting: Callable[..., Any]) -> Any:
    """Returns the columns that the analyzers read, as record batches, each at the time that is its span's index.

    Args:
        pipeline: a Beam pipeline.
        analyzers: the analyzers.
        spans: the spans.
        noting: see `data.worker_errors`.
    """
    return (
        pipeline
        | "Spans" >> beam.Create([(i, span.paths) for i, span in enumerate(spans)])
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.FlatMap(_batches, analyzers.schema.SerializeToString(), analyzers.columns, noting(_reject))
    )


def _contributions(pipeline: Any, batches: Any, analyzers: OwnAnalyzers) -> dict[bytes, Any]:
    """Returns the encoded contributions of each entry."""
    key = analyzer_cache.DatasetKey("span")
    temp_dir = tft_beam.Context.create_base_temp_dir()
    graph, inputs, outputs = impl_helper.trace_preprocessing_function(
        analyzers.function, analyzers.specs, False, temp_dir
    )
    fingerprints = graph_tools.get_analyzers_fingerprint(graph, inputs)
    _, wanted, _ = analysis_graph_builder.build(graph, inputs, outputs, dataset_keys={key}, cache_dict={})
    if tuple(sorted(wanted[key])) != analyzers.entries:
        raise NotBySpan("an analyzer is another one each time that the function is traced")
    visitor = _SpanVisitor(
        common.ConstructBeamPipelineVisitor.ExtraArgs(
            base_temp_dir=temp_dir,
            pipeline=pipeline,
            flat_pcollection=None,
            pcollection_dict={key: batches},
            tf_config=None,
            graph=graph,
            input_signature=inputs,
            input_specs=analyzers.specs,
            input_tensor_adapter_config=analyzers.source.TensorAdapterConfig(),
            use_tf_compat_v1=False,
            cache_pcoll_dict={},
            preprocessing_fn=analyzers.function,
            analyzers_fingerprint=fingerprints,
            save_options=None,
        )
    )
    traverser = nodes.Traverser(visitor)
    return {entry: traverser.visit_value_node(node) for entry, node in wanted[key].items()}


def _batches(
    span: tuple[int, Sequence[str]], schema: bytes, columns: Sequence[str], reject: Callable[..., None]
) -> Iterator[Any]:
    rows = beam.metrics.Metrics.counter(*ROWS_COUNTER)
    options = tfxio.RecordBatchesOptions(batch_size=BATCH_ROWS, drop_final_batch=False, num_epochs=1, shuffle=False)
    index, paths = span
    for path in paths:
        source = tfxio.TFExampleRecord(
            re.sub(r"([][*?\\])", r"\\\1", path),  # it is a pattern for TFXIO
            schema=schema_pb2.Schema.FromString(schema),
            telemetry_descriptors=TELEMETRY,
        ).Project(list(columns))
        try:
            for batch in source.RecordBatches(options):
                rows.inc(batch.num_rows)
                yield TimestampedValue(batch, index)
        except (ValueError, RuntimeError, tf.errors.OpError) as e:
            reject(path, str(e))


def _reject(path: str, why: str) -> None:
    raise DataRejected(
        f"{path} must hold tf.Examples of the schema's types. Got: {why}",
        hint="`conveyor schema diff` shows which column has changed its type",
    )


def _tagged(record: bytes, entry: int, window: Any = beam.DoFn.WindowParam) -> tuple[tuple[int, int], bytes]:
    return (int(window.start), entry), record


def _write(contribution: tuple[tuple[int, int], Iterable[bytes]], folder: str) -> None:
    (span, entry), records = contribution
    with (
        replacing(Path(folder) / str(span) / str(entry)) as temporary,
        tf.io.TFRecordWriter(str(temporary), "GZIP") as writer,
    ):
        for record in sorted(records):
            writer.write(record)
