"""Identity by identity, and the first difference as closely as it can be told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.records import framed
from pipeline.identities import Made, identities, parts_of, read, write
from pipeline.rebuild.comparison import blessing_of, compare_made, compare_metrics, without_verdict
from pipeline.rebuild.detail import first_difference


def made(folder: Path, node: str = "SpanExampleGen", key: str = "examples") -> Made:
    return Made(node, key, 0, "3", str(folder), parts_of(folder))


def compared(one: Path, two: Path) -> str:
    (found,) = compare_made([made(one)], [made(two)])
    assert not found.equal
    return first_difference(found)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "two"


def test_the_verdict_can_be_set_aside() -> None:
    """A rebuild is not held against the model that was live: what follows from that is no part of the model."""
    nodes = [("Trainer", "model"), ("Evaluator", "blessing"), ("Evaluator", "evaluation"), ("Pusher", "pushed_model")]
    ones = [Made(node, key, 0, "", "", {key: "1"}) for node, key in nodes]
    assert blessing_of(ones) == {"blessing": "1"} and blessing_of(ones[:1]) == {}
    assert [(one.node, one.key) for one in without_verdict(ones)] == [nodes[0], nodes[2]]


def test_equal_artifacts_are_equal_wherever_they_lie(pair: tuple[Path, Path]) -> None:
    for folder in pair:
        (folder / "a.txt").write_text("same\n")
    (found,) = compare_made([made(pair[0])], [made(pair[1])])
    assert found.equal and found.parts == 1 and found.name == "SpanExampleGen.examples, span 3"


def test_what_clocks_and_places_say_is_no_difference(pair: tuple[Path, Path]) -> None:
    for number, folder in enumerate(pair):
        training = {
            "best": {"val_loss": 0.5, "seconds": number},
            "history": [{"seconds": number}],
            "resumed_from": number,
        }
        (folder / "training.json").write_text(json.dumps(training))
        (folder / "pushed.json").write_text(json.dumps({"model_digest": "d", "pushed_destination": str(folder)}))
        (folder / f"events.out.tfevents.{number}").write_text(str(number))
        checks = [{"name": "latency", "ok": True, "detail": f"{number} ms"}]
        (folder / "validation.json").write_text(json.dumps({"checks": checks, "seconds": {"load": number}}))
        row = {"slice": "Overall", "examples": 3, "metrics": {"auc": 0.5}, "baseline": {"auc": number}}
        (folder / "evaluation.json").write_text(json.dumps({"slices": [row], "has_baseline": bool(number)}))
    (found,) = compare_made([made(pair[0])], [made(pair[1])])
    assert found.equal and found.parts == 4


def test_a_changed_metric_is_named_by_slice(pair: tuple[Path, Path]) -> None:
    for number, folder in enumerate(pair):
        rows = [
            {"slice": name, "examples": 3, "metrics": {"auc": 0.5 + value}}
            for name, value in (("Overall", 0), ("sex=Male", number / 4))
        ]
        (folder / "evaluation.json").write_text(json.dumps({"slices": rows}))
    assert compared(*pair) == "SpanExampleGen.examples, span 3, evaluation.json: sex=Male: auc: 0.5 -> 0.75"


def test_an_unequal_trial_is_named_by_its_place(pair: tuple[Path, Path]) -> None:
    for number, folder in enumerate(pair):
        (folder / "tuner_results.json").write_text(json.dumps([{"score": 0.5}, {"score": 0.5 + number}]))
    assert compared(*pair).endswith("tuner_results.json: 1.score: 0.5 -> 1.5")


def test_the_first_unequal_line_of_a_vocabulary(pair: tuple[Path, Path]) -> None:
    (pair[0] / "company_index").write_text("a\nb\n")
    (pair[1] / "company_index").write_text("a\nc\n")
    assert compared(*pair).endswith("company_index: line 2: 'b' and 'c'")


def test_the_first_unequal_record_and_its_feature(pair: tuple[Path, Path]) -> None:
    import pyarrow as pa
    from tensorflow.core.example import example_pb2

    for number, folder in enumerate(pair):
        rows = []
        for row in range(5):
            example = example_pb2.Example()
            example.features.feature["x"].float_list.value.append(row)
            example.features.feature["name"].bytes_list.value.append(b"secret" if row == 3 and number else b"n")
            rows.append(example.SerializeToString(deterministic=True))
        with gzip.GzipFile(folder / "data_tfrecord-00000-of-00001.gz", "wb", mtime=0) as file:
            file.write(framed(pa.array(rows, pa.binary())))
    said = compared(*pair)
    assert said.endswith("data_tfrecord-00000-of-00001.gz: record 3, feature name") and "secret" not in said


def test_the_first_unequal_element_of_a_variable(pair: tuple[Path, Path]) -> None:
    import tensorflow as tf

    for number, folder in enumerate(pair):
        module = tf.Module()
        values = np.arange(6, dtype=np.float32).reshape(2, 3)
        values[1, 1] += number * 0.5
        module.weights = tf.Variable(values)
        tf.saved_model.save(module, str(folder / "Format-Serving"))
    said = compared(*pair)
    assert "Format-Serving/variables/weights" in said
    assert "1 of 6 values differ, the first at [1, 1]: 4.0 and 4.5; at most by 0.5" in said


def test_what_only_one_of_the_two_has(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (pair[0] / "a.txt").write_text("a")
    there, missing = made(pair[0]), made(pair[1], node="Trainer", key="model")
    found = compare_made([there], [missing])
    assert [one.node for one in found] == ["SpanExampleGen", "Trainer"], "in the order of the pipeline"
    assert first_difference(found[0]).endswith("the rebuild has none")
    (lost,) = compare_made([Made("Tuner", "x", 0, "", str(tmp_path / "gone"), {"a": "1"})], [
        Made("Tuner", "x", 0, "", str(pair[1]), {"a": "2"})
    ])  # fmt: skip
    assert "Tuner.x, a (the run's own artifact is gone" in first_difference(lost)


def test_metrics_by_slice() -> None:
    rows = [{"slice": "Overall", "examples": 3, "metrics": {"auc": 0.5}, "baseline": {"auc": 0.1}}]
    other: list[dict[str, Any]] = [{"slice": "Overall", "examples": 3, "metrics": {"auc": 0.6}, "baseline": {}}]
    assert compare_metrics(rows, [{**rows[0], "baseline": {}}]) == []
    assert compare_metrics(rows, other) == ["auc in Overall: 0.5 -> 0.6"]
    assert compare_metrics(rows, []) == ["auc in Overall: 0.5 -> None", "examples in Overall: 3 -> None"]


def test_identities_are_written_and_read(pair: tuple[Path, Path]) -> None:
    (pair[0] / "schema.pbtxt").write_text("feature {}")
    artifact = {"uri": str(pair[0]), "properties": {"label": "2014"}}
    found = identities([("SpanExampleGen", {"examples": [artifact]}), ("baseline", {"candidate": [artifact]})])
    assert [one.name for one in found] == ["SpanExampleGen.examples, span 2014"], "what is passed on counts once"
    write(pair[1], found)
    assert read(pair[1]) == found
    assert read(pair[0]) is None
