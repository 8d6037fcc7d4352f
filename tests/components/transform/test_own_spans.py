"""A line's own preprocessing_fn: what a span contributes to its analyzers is kept, and the graph stays the same."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.fingerprint import file_sha256
from schema.errors import DataRejected

TYPES = {"n": "FLOAT", "m": "INT", "c": "BYTES", "big": "FLOAT", "y": "INT"}
BIG = {3: 2.0**57, 5: -(2.0**57)}
"""In the first row of a span. 1.0 is lost beside it, so that a sum tells in which order the spans were added."""
FUNCTION = {"preprocessing_fn": "own_span_features.every_kind"}
LEAST = {"preprocessing_fn": "own_span_features.one_analyzer"}


def _rows(span: int, count: int = 60) -> list[dict[str, Any]]:
    rng = np.random.default_rng(span)
    return [
        {
            "n": float(np.float32(rng.normal())),
            "m": int(rng.integers(1000)) if rng.random() > 0.1 else None,
            "c": f"v{rng.integers(9)}" if rng.random() > 0.2 and span != 4 else None,
            "big": BIG.get(span, 1.0) if i == 0 else 1.0,
            "y": int(rng.integers(2)),
        }
        for i in range(count)
    ]


SPANS = {span: _rows(span) for span in (3, 4, 5)}
GROWN = {1: _rows(1), **SPANS}
"""A span more, and before the others, where the next one never is: the order of merging must not depend on it."""


def one_wide(column: Any, default: Any) -> Any:
    """Returns a raw column as shape [batch]."""
    import tensorflow as tf

    wide = tf.SparseTensor(column.indices, column.values, [column.dense_shape[0], 1])
    return tf.squeeze(tf.sparse.to_dense(wide, default_value=default), 1)


def every_kind(inputs: dict[str, Any]) -> dict[str, Any]:
    """Has analyzers of each kind that TFT caches: combined, per key, quantiles and vocabulary."""
    import tensorflow as tf
    import tensorflow_transform as tft

    number, word = one_wide(inputs["n"], 0.0), one_wide(inputs["c"], "")
    other = tf.cast(one_wide(inputs["m"], tf.constant(0, tf.int64)), tf.float32)
    return {
        "z": tft.scale_to_z_score(number),
        "order": number + tft.sum(one_wide(inputs["big"], 0.0)),
        "z_of_word": tft.scale_to_z_score_per_key(number, key=word),
        "bucket": tft.bucketize(other, 7),
        "index": tft.compute_and_apply_vocabulary(word, num_oov_buckets=1),
    }


def one_analyzer(inputs: dict[str, Any]) -> dict[str, Any]:
    """The least that there is to analyse."""
    import tensorflow_transform as tft

    number = one_wide(inputs["n"], 0.0)
    return {"n": number - tft.mean(number)}


def in_two_steps(inputs: dict[str, Any]) -> dict[str, Any]:
    """Has an analyzer that needs another's result."""
    import tensorflow_transform as tft

    number = one_wide(inputs["n"], 0.0)
    return {"n": tft.scale_to_0_1((number - tft.mean(number)) ** 3)}


def without_analyzers(inputs: dict[str, Any]) -> dict[str, Any]:
    """Needs to know nothing of the data."""
    return {"n": one_wide(inputs["n"], 0.0)}


@pytest.fixture(autouse=True, scope="module")
def _module() -> Any:
    """Makes this file importable by a dotted path, as a user's module is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "own_span_features", sys.modules[__name__])
        yield


@pytest.fixture(scope="module")
def run(run_transform: Any) -> Any:
    """Returns run(spans, state, transform=…): the graph, and what was logged about the spans."""

    def run(spans: Any, state: Path, transform: Any = FUNCTION) -> Any:
        from absl import logging as absl_logging

        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        before = absl_logging.get_verbosity()
        absl_logging.set_verbosity(absl_logging.INFO)
        absl_logging.get_absl_logger().addHandler(handler)
        try:
            graph = run_transform(spans, TYPES, transform, state=state)
        finally:
            absl_logging.get_absl_logger().removeHandler(handler)
            absl_logging.set_verbosity(before)
        return SimpleNamespace(graph=graph, log=[s for s in lines if re.search("analysed ", s)])

    return run


@pytest.fixture(scope="module")
def known(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run over three spans and its state."""
    state = tmp_path_factory.mktemp("state")
    return SimpleNamespace(state=state, **vars(run(SPANS, state)))


@pytest.fixture(scope="module")
def least(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same with the least of functions."""
    state = tmp_path_factory.mktemp("state")
    return SimpleNamespace(state=state, **vars(run(SPANS, state, LEAST)))


@pytest.fixture(scope="module")
def fresh(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run over four spans that knows none of them, and its state."""
    state = tmp_path_factory.mktemp("state")
    return SimpleNamespace(state=state, **vars(run(GROWN, state)))


def _written(graph: Any) -> dict[str, Any]:
    """Vocabularies, metadata and plan as bytes, and the value of each constant of the graph.

    The file of the graph itself has the names of TensorFlow's functions, which count up in a process.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    folders = [graph.uri / "transform_fn" / "assets", graph.uri / "transformed_metadata", graph.uri / "metadata"]
    out: dict[str, Any] = {f"{d.name}/{f.name}": f.read_bytes() for d in folders for f in d.iterdir()}
    out["features.json"] = (graph.uri / "features.json").read_bytes()
    model = saved_model_pb2.SavedModel.FromString((graph.uri / "transform_fn" / "saved_model.pb").read_bytes())
    definition = model.meta_graphs[0].graph_def
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    out["constants"] = sorted(n.attr["value"].tensor.SerializeToString() for n in nodes if n.op == "Const")
    return out


def test_one_new_span_reads_one_span(run: Any, least: Any) -> None:
    assert least.log == ["analysed 3 of 3 spans, 180 rows"] and least.graph.spans_analyzed == 3
    slid = {span: rows for span, rows in GROWN.items() if span != 3}
    again = run(slid, least.state, LEAST)
    assert again.log == ["analysed 1 of 3 spans, 60 rows"] and again.graph.spans_analyzed == 1
    numbers = np.array([row["n"] for rows in slid.values() for row in rows])
    out = again.graph.transform([{"n": 2.0}], {"n": "FLOAT", "y": "INT"})
    assert out["n"][0] == pytest.approx(2.0 - numbers.mean(), rel=1e-5)
    # nothing is left of what a run needs on its way
    assert not list((least.state / "analysis" / "own").glob(".*"))


@pytest.mark.slow
def test_the_graph_is_the_same_with_what_was_kept(run: Any, known: Any, fresh: Any) -> None:
    assert known.log == ["analysed 3 of 3 spans, 180 rows"] and known.graph.spans_analyzed == 3
    assert fresh.log == ["analysed 4 of 4 spans, 240 rows"] and fresh.graph.spans_analyzed == 4
    grown = run(GROWN, known.state)
    assert grown.log == ["analysed 1 of 4 spans, 60 rows"] and grown.graph.spans_analyzed == 1
    written = _written(grown.graph)
    assert written == _written(fresh.graph) != _written(known.graph)
    assert written["assets/vocab_compute_and_apply_vocabulary_vocabulary"].count(b"\n") == 9
    assert grown.graph.plan.train_rows == 240


@pytest.mark.slow
def test_a_span_that_leaves_the_window_leaves_the_graph(run: Any, fresh: Any, tmp_path: Path) -> None:
    slid = {span: rows for span, rows in GROWN.items() if span != 3}
    again = run(slid, fresh.state)
    assert again.log == ["analysed none of 3 spans: all are known"] and again.graph.spans_analyzed == 0
    assert _written(again.graph) == _written(run(slid, tmp_path).graph)


@pytest.mark.slow
def test_the_graph_is_that_of_tfx_over_the_whole_window(
    run: Any, fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without analyzers, the executor hands over to TFX's own
    monkeypatch.setattr("components.transform.own_analyzers.own_analyzers", lambda *_: None)
    theirs = run(GROWN, tmp_path)
    assert theirs.log == []
    ours, tfx = _written(fresh.graph), _written(theirs.graph)
    assert {k: v for k, v in ours.items() if k != "constants"} == {k: v for k, v in tfx.items() if k != "constants"}
    rows = [row for rows in GROWN.values() for row in rows]
    got, expected = (run.graph.transform(rows, TYPES) for run in (fresh, theirs))
    assert got.keys() == expected.keys()
    for name in expected.keys() - {"order"}:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_what_tft_cannot_decode_is_analysed_again(run: Any, least: Any, tmp_path: Path) -> None:
    """The digests are right, so that only TFT's coders can tell."""
    import tensorflow as tf

    state = tmp_path / "state"
    shutil.copytree(least.state, state)
    for place in (state / "analysis" / "own").iterdir():
        manifest = json.loads((place / "manifest.json").read_text())
        (_,) = manifest["sha256"]
        with tf.io.TFRecordWriter(str(place / "0"), "GZIP") as writer:
            writer.write(b"rubbish")
        manifest["sha256"] = [file_sha256(place / "0")]
        (place / "manifest.json").write_text(json.dumps(manifest))
    again = run(SPANS, state, LEAST)
    assert again.log[0] == "analysed none of 3 spans: all are known"
    assert again.log[1].endswith("cannot be read by TFT: all spans are analysed again")
    assert again.log[2:] == ["analysed 3 of 3 spans, 180 rows"] and again.graph.spans_analyzed == 3
    assert _written(again.graph) == _written(least.graph)
    assert run(SPANS, state, LEAST).log == ["analysed none of 3 spans: all are known"]


@pytest.mark.slow
def test_what_is_damaged_is_analysed_again(run: Any, least: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    # A store of its own: the shared one has entries of other tests, and any of them may come first.
    run(SPANS, state, LEAST)
    first = min((state / "analysis" / "own").iterdir())
    (first / "0").write_bytes((first / "0").read_bytes()[:-1])
    again = run(SPANS, state, LEAST)
    assert again.log[0].startswith(f"{first} is damaged, so its span is analysed again: ")
    assert again.log[1:] == ["analysed 1 of 3 spans, 60 rows"] and again.graph.spans_analyzed == 1
    assert _written(again.graph) == _written(least.graph)


@pytest.mark.slow
def test_an_analyzer_that_needs_the_whole_window_gets_it(run: Any, tmp_path: Path) -> None:
    graph = run(SPANS, tmp_path, {"preprocessing_fn": "own_span_features.in_two_steps"})
    why = "an analyzer works on another's result or cannot be cached"
    assert graph.log == [f"all 3 spans are analysed together, as in every run: {why}"]
    assert graph.graph.spans_analyzed == 3
    out = graph.graph.transform([row for rows in SPANS.values() for row in rows], TYPES)["n"]
    assert (out.min(), out.max()) == (0.0, 1.0)


def test_a_function_without_analyzers_reads_nothing(run: Any, tmp_path: Path) -> None:
    graph = run(SPANS, tmp_path, {"preprocessing_fn": "own_span_features.without_analyzers"})
    assert graph.log == [] and graph.graph.spans_analyzed == 0
    assert not (tmp_path / "analysis" / "own").exists()


def test_records_of_another_type_are_rejected(run_transform: Any, tmp_path: Path) -> None:
    rows = [{**row, "n": "a text"} for row in SPANS[3]]
    with pytest.raises(DataRejected, match=r"span-00003-.* must hold tf.Examples of the schema's types") as error:
        run_transform({3: rows}, {**TYPES, "n": "BYTES"}, LEAST, state=tmp_path, schema_types=TYPES)
    assert "schema diff" in error.value.hint
