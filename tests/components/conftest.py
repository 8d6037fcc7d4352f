"""Spans of hand-made rows as Examples artifacts, and the components from statistics to the gate run over them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

Row = Mapping[str, Any]
Spans = Mapping[str, Mapping[str, Sequence[Row]]]


def example_bytes(row: Row) -> bytes:
    """Returns a row as tf.Example: int, float and text (or bytes) columns, one value each."""
    import tensorflow as tf

    features = {}
    for name, value in row.items():
        if isinstance(value, int):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        elif isinstance(value, float):
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        else:
            text = value if isinstance(value, bytes) else value.encode()
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def write_records(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows as one GZIP TFRecord file."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for row in rows:
            writer.write(example_bytes(row))


def new_artifact(kind: Any, uri: Path) -> Any:
    """Returns an artifact of class `kind` at `uri`."""
    artifact = kind()
    artifact.uri = str(uri)
    return artifact


@pytest.fixture
def write_spans(tmp_path: Path) -> Callable[..., list[Any]]:
    """Returns a function that writes `{label: {split: rows}}` as Examples artifacts, one a span, numbered from 100.

    A span's rows are cut into `shards` files. Each span's folder in the content store of `tmp_path/state` is made.
    """
    from tfx.types import artifact_utils, standard_artifacts

    def write(spans: Spans, shards: int = 1, name: str = "examples") -> list[Any]:
        artifacts = []
        for number, (label, splits) in enumerate(spans.items(), 100):
            uri = tmp_path / name / f"span-{number:05d}"
            for split, rows in splits.items():
                size = -(-len(rows) // shards) or 1
                for shard in range(shards):
                    file = uri / f"Split-{split}" / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
                    write_records(file, rows[shard * size : (shard + 1) * size])
            examples = new_artifact(standard_artifacts.Examples, uri)
            examples.span, examples.version = number, 0
            examples.split_names = artifact_utils.encode_split_names(list(splits))
            examples.set_string_custom_property("ingest_key", f"key-{label}")
            examples.set_string_custom_property("label", label)
            examples.set_string_custom_property("file_format", "tfrecords_gzip")
            examples.set_int_custom_property("rows", sum(map(len, splits.values())))
            (tmp_path / "state" / "spans" / f"key-{label}").mkdir(parents=True, exist_ok=True)
            artifacts.append(examples)
        return artifacts

    return write


@dataclasses.dataclass
class Checks:
    """The executors of SpanStatisticsGen, CuratedSchemaGen, SpanExampleValidator and DataGate over given spans."""

    root: Path

    @property
    def state(self) -> Path:
        """The line's state folder."""
        return self.root / "state"

    def statistics(self, examples: list[Any], name: str = "statistics", config: str = "{}") -> list[Any]:
        """Runs SpanStatisticsGen."""
        from tfx.types import standard_artifacts

        from components.span_statistics_gen.executor import Executor

        executor = Executor(Executor.Context(tmp_dir=str(self.root / "beam"), unique_id="1"))
        output = executor.Do(
            {"examples": examples},
            {"statistics": [new_artifact(standard_artifacts.ExampleStatistics, self.root / name)]},
            {"config": config, "code_digest": "code", "state_dir": str(self.state)},
        )
        return _published(standard_artifacts.ExampleStatistics, output, "statistics")

    def schema(self, statistics: list[Any], label: str, file: str = "", **config: Any) -> Any:
        """Runs CuratedSchemaGen."""
        from tfx.types import standard_artifacts

        from components.curated_schema_gen.executor import Executor

        output = new_artifact(standard_artifacts.Schema, self.root / "schema")
        Executor().Do(
            {"statistics": statistics},
            {"schema": [output]},
            {
                "config": json.dumps({"label": {"name": label}, **config}),
                "schema_file": file,
                "schema_digest": "",
                "code_digest": "code",
                "state_dir": str(self.state),
            },
        )
        return output

    def anomalies(self, statistics: list[Any], schema: Any, drift_min_examples: int = 1) -> list[Any]:
        """Runs SpanExampleValidator."""
        from tfx.types import standard_artifacts

        from components.span_example_validator.executor import Executor

        output = Executor().Do(
            {"statistics": statistics, "schema": [schema]},
            {"anomalies": [new_artifact(standard_artifacts.ExampleAnomalies, self.root / "anomalies")]},
            {"config": json.dumps({"validation": {"drift_min_examples": drift_min_examples}}), "code_digest": "code"},
        )
        return _published(standard_artifacts.ExampleAnomalies, output, "anomalies")

    def gate(
        self,
        examples: list[Any],
        schema_text: str,
        policies: Mapping[str, str] | None = None,
        label: str = "label",
        run_id: str = "run-1",
    ) -> tuple[Any, dict[str, Any]]:
        """Runs all four with a curated schema; returns DataGate's Examples artifact and its report."""
        from tfx.types import standard_artifacts

        from components.data_gate.artifact import DataGateResult, read_report
        from components.data_gate.executor import Executor

        file = self.root / "schema.pbtxt"
        file.write_text(schema_text, encoding="utf-8")
        statistics = self.statistics(examples)
        schema = self.schema(statistics, label, str(file))
        window = new_artifact(standard_artifacts.Examples, self.root / "window")
        result = self.gate_result = new_artifact(DataGateResult, self.root / "gate")
        Executor(Executor.Context(pipeline_run_id=run_id)).Do(
            {
                "input_examples": examples,
                "statistics": statistics,
                "anomalies": self.anomalies(statistics, schema),
                "schema": [schema],
            },
            {"examples": [window], "gate": [result]},
            {
                "config": json.dumps({"validation": {"anomalies": dict(policies or {})}}),
                "code_digest": "code",
                "state_dir": str(self.state),
            },
        )
        return window, read_report(result.uri)


def _published(kind: Any, output: Any, key: str) -> list[Any]:
    artifacts = []
    for proto in output.output_artifacts[key].artifacts:
        artifact = kind()
        artifact.set_mlmd_artifact(proto)
        artifacts.append(artifact)
    return artifacts


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    """Returns the components from statistics to the gate, writing under `tmp_path`."""
    return Checks(tmp_path)
