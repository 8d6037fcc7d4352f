"""The transform graph of a line's own `preprocessing_fn`, from what each span contributes to its analyzers.

A span is read once and its contributions are kept. The graph is always made from what is kept, span by span in their
order: it is the same, to the last digit, whether a span was read in this run or in an earlier one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from absl import logging
from tensorflow_transform.beam import analyzer_cache

from components.transform.own_accumulators import ROWS_COUNTER, read_batches, write_accumulators
from components.transform.own_analyzers import NotBySpan, OwnAnalyzers
from components.transform.own_store import Contributions, forget, keep, kept
from components.transform.spans import SpanFiles
from data.whole_file import remove_leftovers, scratch_folder
from data.worker_errors import raised_here

MakePipeline = Callable[[], Any]


def write_graph(
    analyzers: OwnAnalyzers, spans: Sequence[SpanFiles], store: Path, uri: Path, make_pipeline: MakePipeline
) -> int:
    """Analyses the spans that are new and writes the transform graph.

    Args:
        analyzers: the function and its analyzers.
        spans: the window, in order.
        store: where contributions are kept.
        uri: folder of the transform graph.
        make_pipeline: makes a Beam pipeline.

    Returns:
        How many spans were analysed: all, when an analyzer needs the whole window at once.

    Raises:
        DataRejected: records are of other types than the schema says.
    """
    remove_leftovers(store)
    with scratch_folder(store, "run") as scratch:
        place = _Place(store, scratch, uri, make_pipeline)
        if analyzers.entries is None:
            return _whole_window(analyzers, spans, place, "an analyzer works on another's result or cannot be cached")
        try:
            return _by_span(analyzers, spans, place)
        except NotBySpan as reason:
            return _whole_window(analyzers, spans, place, str(reason))


@dataclass(frozen=True)
class _Place:
    """Where things are.

    Attributes:
        store: the folder of what is kept.
        scratch: a folder for this run alone.
        uri: the folder of the transform graph.
        pipeline: makes a Beam pipeline.
    """

    store: Path
    scratch: Path
    uri: Path
    pipeline: MakePipeline


def _by_span(analyzers: OwnAnalyzers, spans: Sequence[SpanFiles], place: _Place) -> int:
    fresh = _analyze(analyzers, spans, place)
    try:
        _merge(analyzers, spans, place)
    except NotBySpan:
        raise
    except Exception:
        # TFT decodes what is kept by its own coders, which say in their own ways that they cannot.
        known = [key for key in map(analyzers.key_of, spans) if key not in fresh]
        if not known:
            raise
        logging.warning("%s cannot be read by TFT: all spans are analysed again", place.store, exc_info=True)
        for key in known:
            forget(place.store, key)
        fresh |= _analyze(analyzers, spans, place)
        _merge(analyzers, spans, place)
    return sum(analyzers.key_of(span) in fresh for span in spans)


def _whole_window(analyzers: OwnAnalyzers, spans: Sequence[SpanFiles], place: _Place, reason: str) -> int:
    """Has TFT analyse all spans as one.

    Not TFX's executor, which asks TFT for copies of the stages that read data: TFT 1.16 fails at that with the pinned
    Beam.
    """
    logging.warning("all %d spans are analysed together, as in every run: %s", len(spans), reason)
    with raised_here(place.scratch) as noting, place.pipeline() as pipeline, _context(place):
        batches = read_batches(pipeline, analyzers, spans, noting)
        transform_fn = (batches, analyzers.source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(analyzers.function)
        _write(pipeline, analyzers, transform_fn, place)
    return len(spans)


def _analyze(analyzers: OwnAnalyzers, spans: Sequence[SpanFiles], place: _Place) -> set[str]:
    """Analyses the spans that the store lacks; returns their keys."""
    count = len(analyzers.entries or ())
    by_key = {analyzers.key_of(span): span for span in spans}
    pending = {key: span for key, span in by_key.items() if kept(place.store, key, count) is None}
    if not pending:
        logging.info("analysed none of %d spans: all are known", len(spans))
        return set()
    made = place.scratch / "made"
    shutil.rmtree(made, ignore_errors=True)
    with raised_here(place.scratch) as noting, place.pipeline() as pipeline, _context(place):
        write_accumulators(pipeline, analyzers, list(pending.values()), made, noting)
    for i, key in enumerate(pending):
        keep(made / str(i), place.store, key, count)
    rows = pipeline.result.metrics().query(beam.metrics.MetricsFilter().with_name(ROWS_COUNTER[1]))["counters"]
    logging.info("analysed %d of %d spans, %d rows", len(pending), len(spans), sum(int(r.result or 0) for r in rows))
    return set(pending)


def _merge(analyzers: OwnAnalyzers, spans: Sequence[SpanFiles], place: _Place) -> None:
    """Writes the graph from kept contributions alone."""
    entries = analyzers.entries or ()
    contributions: list[Contributions] = []
    for key_of_span in map(analyzers.key_of, spans):
        found = kept(place.store, key_of_span, len(entries))
        if found is None:
            raise FileNotFoundError(f"{place.store / key_of_span} must be there. Got nothing instead")
        contributions.append(found)
    key = analyzer_cache.DatasetKey("window")
    with place.pipeline() as pipeline, _context(place):
        cache = {
            entry: pipeline
            # all in one element, or Beam would be free to give them in another order
            | f"Files[{i}]" >> beam.Create([[str(c[i]) for c in contributions if c[i] is not None]])
            | f"Records[{i}]" >> beam.FlatMap(_records)
            for i, entry in enumerate(entries)
        }
        known = {key: analyzer_cache.DatasetCache(cache, None)}
        transform_fn, missed = (
            {key: None},
            known,
            analyzers.source.TensorAdapterConfig(),
        ) | tft_beam.AnalyzeDatasetWithCache(analyzers.function, pipeline=pipeline)
        if missed:
            raise NotBySpan("an analyzer is another one each time that the function is traced")
        _write(pipeline, analyzers, transform_fn, place)


def _context(place: _Place) -> Any:
    return tft_beam.Context(temp_dir=str(place.scratch / "tft"))


def _write(pipeline: Any, analyzers: OwnAnalyzers, transform_fn: Any, place: _Place) -> None:
    output = tft.TFTransformOutput
    for name in (output.TRANSFORM_FN_DIR, output.TRANSFORMED_METADATA_DIR, output.RAW_METADATA_DIR):
        shutil.rmtree(place.uri / name, ignore_errors=True)
    raw = str(place.uri / output.RAW_METADATA_DIR)
    _ = tft.DatasetMetadata(analyzers.schema) | tft_beam.WriteMetadata(raw, pipeline)
    _ = transform_fn | tft_beam.WriteTransformFn(str(place.uri))


def _records(paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        yield from tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator()
