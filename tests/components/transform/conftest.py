"""Runs Transform's executor over rows written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.transform.plan import FeaturePlan, load_plan

Rows = Sequence[Mapping[str, Any]]

_LAYERS: dict[Path, Any] = {}


@dataclass(frozen=True)
class Graph:
    """A transform graph that was made, and how."""

    uri: Path
    plan: FeaturePlan
    spans_analyzed: int

    def transform(self, rows: Rows, types: Mapping[str, str]) -> dict[str, Any]:
        """Transforms rows as a server does: parsed as sparse columns (those of the plan, and of `types`)."""
        import tensorflow as tf
        import tensorflow_transform as tft

        dtypes = {"INT": tf.int64, "FLOAT": tf.float32, "BYTES": tf.string}
        wanted = {c: dtypes[t] for c, t in {**self.plan.columns, **types}.items()}
        sparse = {}
        for name, dtype in wanted.items():
            here = [(i, row[name]) for i, row in enumerate(rows) if row.get(name) is not None]
            indices = tf.constant([[i, 0] for i, _ in here], tf.int64, shape=[len(here), 2])
            values = tf.constant([v for _, v in here], dtype)
            sparse[name] = tf.SparseTensor(indices, values, [len(rows), 1 if here else 0])
        if self.uri not in _LAYERS:
            _LAYERS[self.uri] = tft.TFTransformOutput(str(self.uri)).transform_features_layer()
        layer = _LAYERS[self.uri]
        return {name: tensor.numpy() for name, tensor in layer(sparse).items()}


Runner = Callable[..., Graph]


def write_spans(folder: Path, spans: Mapping[int, Rows], types: Mapping[str, str]) -> None:
    """Writes the rows of each span as one file of the train split."""
    import tensorflow as tf

    split = folder / "Split-train"
    split.mkdir(parents=True, exist_ok=True)
    for span, rows in spans.items():
        path = split / f"span-{span:05d}-data_tfrecord-00000-of-00001.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for row in rows:
                example = tf.train.Example()
                for name, value in row.items():
                    feature = example.features.feature[name]
                    if value is None:
                        continue
                    if types[name] == "INT":
                        feature.int64_list.value.append(value)
                    elif types[name] == "FLOAT":
                        feature.float_list.value.append(value)
                    else:
                        feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
                writer.write(example.SerializeToString(deterministic=True))


def _schema(types: Mapping[str, str], label: str) -> str:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema(default_environment=["TRAINING", "SERVING"])
    for name, column_type in types.items():
        feature = schema.feature.add(name=name, type=schema_pb2.FeatureType.Value(column_type))
        if name == label:
            feature.not_in_environment.append("SERVING")
    return text_format.MessageToString(schema)


@pytest.fixture(scope="session")
def run_transform(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """Returns run(spans, types, transform, label=…, task=…, state=…, times=…, schema_types=…): the transform graph."""

    def run(
        spans: Mapping[int, Rows],
        types: Mapping[str, str],
        transform: Mapping[str, Any],
        *,
        label: Mapping[str, Any] | None = None,
        task: str = "binary_classification",
        state: Path | None = None,
        times: Mapping[str, str] | None = None,
        schema_types: Mapping[str, str] | None = None,
    ) -> Graph:
        from tfx.types import standard_artifacts

        from components.transform.executor import TransformExecutor

        base = tmp_path_factory.mktemp("transform")
        label = label or {"name": "y"}
        write_spans(base / "examples", spans, types)
        (base / "schema").mkdir()
        (base / "schema" / "schema.pbtxt").write_text(_schema(schema_types or types, label["name"]))
        (base / "graph").mkdir()
        examples, schema = standard_artifacts.Examples(), standard_artifacts.Schema()
        graph = standard_artifacts.TransformGraph()
        examples.uri, schema.uri, graph.uri = (str(base / n) for n in ("examples", "schema", "graph"))
        examples.split_names = '["train"]'
        examples.set_string_custom_property("file_format", "tfrecords_gzip")
        examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        config = {"transform": dict(transform), "label": dict(label), "task": task, "times": dict(times or {})}
        TransformExecutor().Do(
            {"examples": [examples], "schema": [schema]},
            {"transform_graph": [graph]},
            {"config": json.dumps(config), "code_digest": "", "state_dir": str(state or base / "state")},
        )
        uri = base / "graph"
        return Graph(uri, load_plan(str(uri)), graph.get_int_custom_property("spans_analyzed"))

    return run
