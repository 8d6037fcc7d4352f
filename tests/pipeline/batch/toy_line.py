"""A line with a released toy model: three raw columns, and the outputs and signatures of the Trainer's models."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.model_digest import model_digest

ROOT = Path(__file__).resolve().parents[3]
TASKS = ("binary_classification", "multiclass_classification", "regression")
CLASSES = {"binary_classification": ("no", "yes"), "multiclass_classification": ("a", "b", "c"), "regression": ()}
SCHEMA = """
feature { name: "amount" type: FLOAT float_domain { min: 0 } }
feature { name: "count" type: INT }
feature { name: "shade" type: BYTES }
feature { name: "tip" type: INT not_in_environment: "SERVING" }
"""
HEADER = "id,amount,count,shade,tip\n"


def write_model(folder: Path, task: str, seed: int) -> Path:
    """Writes a SavedModel: random weights by `seed`, missing values taken for 0 and ""."""
    import tensorflow as tf

    from components.trainer.outputs import OutputHead

    label = SimpleNamespace(classes=CLASSES[task], mean=5.0, std=2.0)
    head = OutputHead(SimpleNamespace(label=label), task)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    module = tf.Module()
    module.hidden = tf.Variable(rng.normal(size=(6, 32)).astype(np.float32))
    module.out = tf.Variable(rng.normal(size=(32, 3 if len(label.classes) == 3 else 1)).astype(np.float32) / 8)
    module.scaling = tf.Variable(head.scaling, trainable=False)
    parsing = {
        "amount": tf.io.FixedLenFeature([], tf.float32, 0.0),
        "count": tf.io.FixedLenFeature([], tf.int64, 0),
        "shade": tf.io.FixedLenFeature([], tf.string, ""),
    }

    def score(raw: dict[str, Any]) -> dict[str, Any]:
        shade = tf.one_hot(tf.strings.to_hash_bucket_fast(raw["shade"], 4), 4)
        numbers = tf.stack([tf.tanh(raw["amount"] / 10.0), tf.tanh(tf.cast(raw["count"], tf.float32) / 10.0)], axis=1)
        logits = tf.nn.relu(tf.concat([numbers, shade], axis=1) @ module.hidden) @ module.out
        return head.graph(logits, module.scaling)

    def serving_raw(
        amount: Any = tf.constant([math.nan], tf.float32),  # noqa: B008
        count: Any = tf.constant([-(2**63)], tf.int64),  # noqa: B008
        shade: Any = tf.constant([b""]),  # noqa: B008
    ) -> dict[str, Any]:
        rows = tf.reduce_max([tf.size(amount), tf.size(count), tf.size(shade)])
        amount, count, shade = (tf.broadcast_to(value, [rows]) for value in (amount, count, shade))
        amount = tf.where(tf.math.is_nan(amount), 0.0, amount)
        count = tf.where(tf.equal(count, -(2**63)), tf.constant(0, tf.int64), count)
        return score({"amount": amount, "count": count, "shade": shade})

    raw_specs = [
        tf.TensorSpec([None], kind, name=name)
        for name, kind in (("amount", tf.float32), ("count", tf.int64), ("shade", tf.string))
    ]
    text = [tf.TensorSpec([None], tf.string, name="examples")]
    examples = tf.function(lambda examples: score(tf.io.parse_example(examples, parsing)), input_signature=text)
    signatures = {"serving_default": examples, "serving_raw": tf.function(serving_raw, input_signature=raw_specs)}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def csv_rows(rows: int) -> str:
    """Returns the lines of a table: plain ones, missing values, quotes."""
    shades = ("red", "green", "", '"dark, blue"')
    return "".join(
        f"r{row},{'' if row % 7 == 3 else row / 4},{row % 5},{shades[row % 4]},{row % 2}\n" for row in range(rows)
    )


@dataclasses.dataclass(frozen=True)
class ToyLine:
    """The line.

    Attributes:
        folder: has `line.yaml`, `schema.pbtxt` and `state`; tables and outputs go there, too.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path, task: str, **over: Any) -> ToyLine:
        """Makes the line, with sections of the config laid over; it has no model yet."""
        config = {
            "name": "toy",
            "task": task,
            "label": {"name": "tip"},
            "examples": {"input": "days/{SPAN}.csv", "missing_values": ["", "NA"], "max_bad_rows": 0.3},
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "line.yaml").write_text(yaml.safe_dump({**config, **over}))
        (folder / "schema.pbtxt").write_text(SCHEMA)
        return cls(folder)

    @property
    def base(self) -> Path:
        """The model base path."""
        return self.folder / "state" / "toy" / "serving_model" / "toy"

    def push(self, version: int, model: Path) -> None:
        """Releases a model."""
        shutil.copytree(model, self.base / str(version))
        Ledger(self.folder / "state" / "toy" / "releases.jsonl").append(
            LedgerEvent(
                event="pushed",
                version=version,
                run_id=f"run-{version}",
                model_digest=model_digest(model),
                who="ada",
                when="now",
            )
        )

    def table(self, name: str, rows: str, header: str = HEADER) -> Path:
        """Writes a CSV file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + rows)
        return path

    def start(self, *args: Any, **env: str) -> subprocess.Popen[str]:
        """Starts a conveyor command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "conveyor", *map(str, args)],
            cwd=self.folder,
            env={**os.environ, "CONVEYOR_HOME": str(self.folder / "state"), "PYTHONPATH": str(ROOT), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def predictions(self, output: str) -> pa.Table:
        """Returns the Parquet parts of an output folder as one table."""
        return pa.concat_tables([pq.read_table(path) for path in sorted((self.folder / output).glob("*.parquet"))])

    def logs(self, output: str) -> list[Any]:
        """Returns the PredictionLogs of an output folder, as TensorFlow Serving's own messages."""
        from tensorflow_serving.apis import prediction_log_pb2

        from data.records import read_records

        return [
            prediction_log_pb2.PredictionLog.FromString(record)
            for path in sorted((self.folder / output).glob("*.tfrecord.gz"))
            for record in read_records(path)
        ]

    def contents(self, output: str) -> dict[str, bytes]:
        """Returns the bytes of every part."""
        return {path.name: path.read_bytes() for path in sorted((self.folder / output).glob("predictions-*"))}

    def manifest(self, output: str) -> dict[str, Any]:
        """Returns the manifest of an output folder."""
        found: dict[str, Any] = json.loads((self.folder / output / "manifest.json").read_text())
        return found
