"""The executor: what is cached, what is the same twice, and a line's own preprocessing_fn."""

from __future__ import annotations

import numpy as np
import pytest

from components.transform import executor
from schema.errors import ConfigError, DataRejected

TYPES = {"n": "FLOAT", "c": "BYTES", "y": "INT"}


def _rows(span, count=60):
    rng = np.random.default_rng(span)
    return [
        {
            "n": float(rng.normal()),
            "c": f"v{rng.integers(4)}" if rng.random() > 0.2 else None,
            "y": int(rng.integers(2)),
        }
        for _ in range(count)
    ]


SPANS = {span: _rows(span) for span in (3, 4, 5)}


def _constants(graph):
    """The bytes that the graph's constants and vocabularies are written as."""
    files = [*(graph.uri / "recipe").iterdir(), *(graph.uri / "transform_fn" / "assets").iterdir()]
    return {str(f.relative_to(graph.uri)): f.read_bytes() for f in [*files, graph.uri / "features.json"]}


@pytest.fixture(scope="module")
def cold(run_transform, tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    return run_transform(SPANS, TYPES, {}, state=state), state


def test_a_known_span_is_not_analysed_again(run_transform, cold):
    first, state = cold
    assert first.spans_analyzed == 3
    again = run_transform(SPANS, TYPES, {}, state=state)
    assert again.spans_analyzed == 0
    assert _constants(again) == _constants(first)
    grown = run_transform({**SPANS, 6: _rows(6)}, TYPES, {}, state=state)
    assert grown.spans_analyzed == 1
    assert grown.plan.train_rows == 240


def test_a_forced_transform_analyses_known_spans_again(run_transform, cold, monkeypatch):
    first, state = cold
    before = {path.name: path.read_bytes() for path in (state / "analysis").iterdir()}
    monkeypatch.setattr("components.transform.executor.done_anew", lambda context: True)
    again = run_transform(SPANS, TYPES, {}, state=state)
    assert again.spans_analyzed == 3 and _constants(again) == _constants(first)
    assert {path.name: path.read_bytes() for path in (state / "analysis").iterdir()} == before


def test_a_changed_span_is_analysed_again(run_transform, cold):
    changed = {**SPANS, 4: [*SPANS[4][:-1], {**SPANS[4][-1], "n": 0.25}]}
    assert run_transform(changed, TYPES, {}, state=cold[1]).spans_analyzed == 1


def test_a_cache_file_that_cannot_be_read_is_made_anew(run_transform, cold):
    first, state = cold
    broken = sorted((state / "analysis").glob("*.json"))
    for path in broken:
        path.write_text(path.read_text()[:100])
    again = run_transform(SPANS, TYPES, {}, state=state)
    assert again.spans_analyzed == 3 and _constants(again) == _constants(first)


def test_beam_gives_the_same_bytes(run_transform, cold, monkeypatch):
    monkeypatch.setattr(executor, "IN_PROCESS_BYTES", 0)
    again = run_transform(SPANS, TYPES, {})
    assert again.spans_analyzed == 3
    assert _constants(again) == _constants(cold[0])


def test_the_order_of_rows_and_spans_does_not_matter(run_transform, cold):
    shuffled = {13 - span: rows[::-1] for span, rows in SPANS.items()}
    assert _constants(run_transform(shuffled, TYPES, {})) == _constants(cold[0])


def test_regression_label(run_transform):
    types = {"n": "INT", "y": "FLOAT"}
    rows = [{"n": i * 7, "y": i / 2} for i in range(60)]
    graph = run_transform({0: rows}, types, {}, task="regression")
    out = graph.transform([{"n": 1, "y": 2.5}, {"n": 1}], {"y": "FLOAT"})
    assert out["y_xf"].dtype == np.float32 and out["y_xf"][0] == 2.5 and np.isnan(out["y_xf"][1])


def own_preprocessing_fn(inputs, custom_config):
    """A preprocessing_fn as users write them, with analyzers."""
    import tensorflow as tf
    import tensorflow_transform as tft

    def one_wide(name):
        column = inputs[name]
        return tf.squeeze(
            tf.sparse.to_dense(tf.SparseTensor(column.indices, column.values, [column.dense_shape[0], 1])), 1
        )

    number = one_wide("n")
    return {
        "scaled": tft.scale_to_0_1(number),
        "index": tft.compute_and_apply_vocabulary(one_wide("c"), num_oov_buckets=1),
        "y": tf.zeros_like(number),
        "is_config_there": tf.zeros_like(number) + float("transform" in custom_config),
    }


def no_range(inputs):
    """A preprocessing_fn whose integers have no known range."""
    import tensorflow as tf

    return {"n": tf.cast(inputs["n"].dense_shape[0] * tf.ones([inputs["n"].dense_shape[0]], tf.int64), tf.int64)}


@pytest.fixture
def own_module(monkeypatch):
    """Makes this file importable by a dotted path, as a user's module is."""
    import sys

    monkeypatch.setitem(sys.modules, "own_features", sys.modules[__name__])
    return "own_features"


@pytest.mark.slow
def test_own_preprocessing_fn(run_transform, own_module):
    graph = run_transform(SPANS, TYPES, {"preprocessing_fn": f"{own_module}.own_preprocessing_fn"})
    numbers = [r["n"] for rows in SPANS.values() for r in rows]
    low, high = np.float32(min(numbers)), np.float32(max(numbers))
    kinds = {o.name: (o.kind, o.cardinality) for o in graph.plan.outputs}
    # v0..v3 and one for what is out of the vocabulary (TFT leaves the empty text out)
    assert kinds == {"scaled": ("dense", None), "index": ("categorical", 5), "is_config_there": ("dense", None)}
    out = graph.transform([{"n": (low + high) / 2, "c": "v1", "y": 1}], {"y": "INT", "n": "FLOAT", "c": "BYTES"})
    assert out["scaled"][0] == pytest.approx(0.5, abs=1e-6)
    assert (out["y_xf"][0], out["is_config_there"][0]) == (1, 1.0)
    assert graph.plan.label.classes == ("0", "1")


def test_own_preprocessing_fn_without_ranges_is_an_error(run_transform, own_module):
    with pytest.raises(ConfigError, match="output 'n' of transform.preprocessing_fn must be float32"):
        run_transform(SPANS, TYPES, {"preprocessing_fn": f"{own_module}.no_range"})


@pytest.mark.parametrize("path", ["nowhere.f", "json.nothing", "x", "json.__name__"])
def test_a_path_that_is_no_function_is_an_error(run_transform, path):
    with pytest.raises(ConfigError, match="dotted path of a function"):
        run_transform(SPANS, TYPES, {"preprocessing_fn": path})


def test_data_that_cannot_be_learned_from_is_an_error(run_transform):
    with pytest.raises(DataRejected, match="must have records"):
        run_transform({0: []}, TYPES, {})
    with pytest.raises(ConfigError, match="label.name must be a column"):
        run_transform(SPANS, TYPES, {}, label={"name": "nothing"})


def test_records_of_another_type_are_named(run_transform, tmp_path):
    from components.transform.spans import analyze_span, group_spans

    graph = run_transform(SPANS, TYPES, {})
    folder = str(graph.uri.parent / "examples" / "Split-train")
    for wrong, message in (({"n": "INT"}, "tf.Examples of the schema's types"), ({"c": "FLOAT"}, "schema's types")):
        span = group_spans([folder], wrong)[0]
        with pytest.raises(DataRejected, match=message):
            analyze_span(span, wrong, 100, str(tmp_path))


def test_columns_that_are_not_served_are_no_features():
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.transform.raw_columns import raw_columns

    schema = schema_pb2.Schema(default_environment=["TRAINING", "SERVING"])
    for name in ("a", "later", "gone", "y"):
        schema.feature.add(name=name, type=schema_pb2.INT)
    schema.feature[1].not_in_environment.append("SERVING")
    schema.feature[2].lifecycle_stage = schema_pb2.DEPRECATED
    schema.feature[0].int_domain.is_categorical = True
    columns = raw_columns(schema, "y")
    assert (columns.types, columns.label_type, columns.not_served) == ({"a": "INT"}, "INT", ("later",))
    assert columns.nominal == frozenset({"a"})


def test_component_wiring():
    from tfx import types
    from tfx.types import standard_artifacts

    from components.transform.component import Transform

    component = Transform(
        examples=types.Channel(type=standard_artifacts.Examples),
        schema=types.Channel(type=standard_artifacts.Schema),
        config="{}",
        code_digest="d",
        state_dir="/s",
    )
    assert set(component.inputs) == {"examples", "schema"}
    assert set(component.outputs) == {"transform_graph"}
    assert component.exec_properties == {"config": "{}", "code_digest": "d", "state_dir": "/s"}


def test_analyses_are_plain_json(cold):
    for path in (cold[1] / "analysis").iterdir():
        assert path.suffix == ".json" and path.read_bytes()[:1] == b"{"
