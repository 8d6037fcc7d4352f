"""DataGate as a whole: statistics, schema, anomalies and records in; the window, a report or a rejection out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.data_gate.report import last_report, read_last
from components.span_statistics_gen.records import read_batches, split_files
from schema.errors import DataRejected

SCHEMA = """\
feature { name: "label" type: INT int_domain { min: 0 max: 1 } presence { min_fraction: 1 min_count: 1 } }
feature { name: "fare" type: FLOAT float_domain { min: 0 max: 100 } presence { min_fraction: 1 min_count: 1 } }
feature {
  name: "pay" type: BYTES string_domain { value: "Cash" value: "Card" }
  drift_comparator { infinity_norm { threshold: 0.5 } }
}
"""


def _rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"label": i % 2, "fare": i / 4, "pay": ("Cash", "Card")[i % 2], **more} for i in range(count)]


def _spans(**changed: Any) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        "2013Q1": {"train": _rows(12), "eval": _rows(4)},
        "2013Q2": {"train": _rows(16), "eval": _rows(6), **changed},
    }


def _records(uri: str | Path, split: str) -> list[bytes]:
    return [record for batch in read_batches(split_files(uri, split), 1000) for record in batch]


def _row(example: bytes) -> dict[str, Any]:
    import tensorflow as tf

    features = tf.train.Example.FromString(example).features.feature
    return {name: getattr(feature, feature.WhichOneof("kind")).value[0] for name, feature in features.items()}


def test_data_without_anomalies_passes_as_links(write_spans, checks) -> None:
    examples = write_spans(_spans(), shards=2)
    window, report = checks.gate(examples, SCHEMA)
    assert (report["verdict"], report["decisions"], report["rows"]) == ("passed", [], {"train": 28, "eval": 10})
    names = [path.name for path in split_files(window.uri, "train")]
    assert names == [
        f"span-{span:05d}-data_tfrecord-{shard:05d}-of-00002.gz" for span in (100, 101) for shard in (0, 1)
    ]
    assert _records(window.uri, "train") == _records(examples[0].uri, "train") + _records(examples[1].uri, "train")
    assert os.path.samefile(split_files(window.uri, "eval")[0], split_files(examples[0].uri, "eval")[0])
    assert (window.span, window.splits) == (101, ["train", "eval"])
    assert window.get_string_custom_property("file_format") == "tfrecords_gzip"
    assert window.get_int_custom_property("rows") == 38
    assert sorted(path.name for path in Path(window.uri).iterdir()) == ["Split-eval", "Split-train"]


def test_drift_is_reported_with_its_measure_and_shares(write_spans, checks) -> None:
    _, report = checks.gate(write_spans(_spans(train=_rows(16, pay="Card"))), SCHEMA.replace("0.5", "0.4"))
    (decision,) = report["decisions"]
    assert report["verdict"] == "warned"
    assert (decision["label"], decision["feature"], decision["kind"]) == ("2013Q2", "pay", "drift")
    assert decision["values"][0]["value"] in ("'Card' 50.0% -> 100.0%", "'Cash' 50.0% -> 0.0%")
    assert [(d["feature"], d["measure"], d["value"]) for d in report["drift"]] == [("pay", "infinity_norm", 0.5)]


def test_a_failing_policy_rejects_the_data_with_values_and_counts(write_spans, checks) -> None:
    bad = [*_rows(14), *[{"label": 1, "fare": -2.5, "pay": "Cash"}] * 2]
    with pytest.raises(DataRejected) as caught:
        checks.gate(write_spans(_spans(train=bad)), SCHEMA)
    message = str(caught.value)
    assert "span 2013Q2, split train, feature 'fare': out_of_range" in message
    assert "in 2 of 16 rows (12.50%): -2.5 (2)" in message
    assert "validation.anomalies.out_of_range" in message
    assert caught.value.exit_code == 4
    report = read_last(checks.state, "run-1")
    assert report is not None
    assert report["verdict"] == "rejected"
    assert report["message"] in message
    assert not list((checks.root / "window").rglob("*.gz"))
    assert not (checks.root / "gate").exists()


def test_the_last_report_says_of_which_run_it_is(write_spans, checks) -> None:
    assert read_last(checks.state, "first") is None
    examples = write_spans(_spans())
    _, report = checks.gate(examples, SCHEMA, run_id="first")
    assert read_last(checks.state, "first") == {**report, "run_id": "first"}
    assert read_last(checks.state, "second") is None
    checks.gate(examples, SCHEMA, run_id="second")
    assert read_last(checks.state, "first") is None
    assert read_last(checks.state, "second") is not None
    last_report(checks.state).write_text(json.dumps(report), encoding="utf-8")
    assert read_last(checks.state, "second") is None


def test_another_run_over_the_same_data_gives_the_same_bytes(write_spans, checks) -> None:
    examples = write_spans(_spans())
    contents = []
    for run_id in ("first", "second"):
        checks.gate(examples, SCHEMA, run_id=run_id)
        contents.append((checks.root / "gate" / "gate.json").read_bytes())
    assert contents[0] == contents[1]


def test_values_on_both_sides_of_a_range_are_one_decision(write_spans, checks) -> None:
    bad = [*_rows(14), {"label": 1, "fare": -2.5, "pay": "Cash"}, {"label": 1, "fare": 900.0, "pay": "Cash"}]
    _, report = checks.gate(write_spans(_spans(train=bad)), SCHEMA, {"out_of_range": "warn"})
    (decision,) = report["decisions"]
    assert {value["value"] for value in decision["values"]} == {"-2.5", "900"}
    assert decision["rows"] == 2
    assert "low" in decision["description"] and "high" in decision["description"]


@pytest.mark.parametrize(
    ("rows", "schema", "kind", "rows_said", "value"),
    [
        ([*_rows(15), {"label": 1, "fare": 1.0, "pay": "Coin"}], SCHEMA, "unexpected_value", 1, "'Coin'"),
        ([*_rows(15), {"label": 1, "pay": "Cash"}], SCHEMA, "low_presence", 1, None),
        ([{"label": 1, "pay": "Cash"}, {"label": 1, "pay": "Card"}], SCHEMA, "missing_column", 2, None),
        ([{**row, "new": "x"} for row in _rows(15)], SCHEMA, "new_column", 15, "'x'"),
        ([{**row, "fare": "1"} for row in _rows(15)], SCHEMA, "unexpected_type", 15, "'1'"),
        (_rows(16), SCHEMA + "dataset_constraints { min_examples_count: 14 }", "few_examples", 12, None),
    ],
)
def test_kinds_and_their_rows(
    write_spans, checks, rows: Any, schema: str, kind: str, rows_said: int, value: str | None
) -> None:
    allowed = dict.fromkeys(["unexpected_value", "low_presence", "missing_column", "unexpected_type"], "warn")
    _, report = checks.gate(write_spans(_spans(train=rows)), schema, allowed)
    (decision,) = report["decisions"]
    assert (decision["kind"], decision["policy"], decision["rows"]) == (kind, "warn", rows_said)
    assert [v["value"] for v in decision["values"]][:1] == ([value] if value else [])
    with pytest.raises(DataRejected, match=kind):
        checks.gate(write_spans(_spans(train=rows)), schema, {**allowed, kind: "fail"})


def test_rows_in_quarantine_are_kept_out_and_written_down(write_spans, checks) -> None:
    bad = [*_rows(7), {"label": 1, "fare": 1.0, "pay": "Coin"}, *_rows(7), {"label": 0, "fare": -1.0, "pay": "Coin"}]
    examples = write_spans(_spans(train=bad), shards=3)
    policies = {"unexpected_value": "quarantine", "out_of_range": "quarantine"}
    window, report = checks.gate(examples, SCHEMA, policies)
    assert report["verdict"] == "quarantined"
    assert report["rows"] == {"train": 26, "eval": 10}
    second = report["spans"][1]
    assert (second["action"], second["quarantined_rows"], second["rows"]["train"]) == ("used", {"train": 2}, 14)
    names = [path.name for path in split_files(window.uri, "train")]
    assert names[-1] == "span-00101-data_tfrecord-00000-of-00001.gz"
    assert sorted(os.listdir(Path(window.uri) / "Split-train")) == names
    kept = [_row(record) for record in _records(window.uri, "train")]
    assert kept == [_row(r) for r in _records(examples[0].uri, "train")] + [
        _row(r) for i, r in enumerate(_records(examples[1].uri, "train")) if i not in (7, 15)
    ]
    lines = [json.loads(line) for line in Path(second["quarantine_file"]).read_text(encoding="utf-8").splitlines()]
    assert [(line["split"], line["row"], line["reasons"]) for line in lines] == [
        ("train", 7, ["unexpected_value of pay"]),
        ("train", 15, ["out_of_range of fare", "unexpected_value of pay"]),
    ]
    assert lines[1]["values"] == {"label": 0, "fare": -1.0, "pay": "Coin"}
    assert Path(second["quarantine_file"]).parent == checks.state / "quarantine"
    # Other splits and spans are links still, and the span's own records are as they were.
    assert os.path.samefile(split_files(window.uri, "eval")[-1], split_files(examples[1].uri, "eval")[-1])
    assert len(_records(examples[1].uri, "train")) == 16


def test_quarantine_writes_the_same_bytes_every_time(write_spans, checks) -> None:
    examples = write_spans(_spans(train=[*_rows(7), {"label": 1, "fare": 1.0, "pay": "Coin"}]))
    contents = []
    for _ in range(2):
        window, report = checks.gate(examples, SCHEMA, {"unexpected_value": "quarantine"})
        files = [*split_files(window.uri, "train"), checks.root / "gate" / "gate.json"]
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]


def test_a_span_in_quarantine_is_left_out(write_spans, checks) -> None:
    examples = write_spans(_spans(train=_rows(16, pay="Card")))
    window, report = checks.gate(examples, SCHEMA.replace("0.5", "0.4"), {"drift": "quarantine"})
    assert [span["action"] for span in report["spans"]] == ["used", "quarantined"]
    assert report["rows"] == {"train": 12, "eval": 4}
    assert {path.name[:10] for path in split_files(window.uri, "train")} == {"span-00100"}
    assert window.span == 100


def test_a_window_of_nothing_but_quarantine_is_rejected(write_spans, checks) -> None:
    spans = {label: {"train": _rows(9, new=1), "eval": _rows(3, new=1)} for label in ("2013Q1", "2013Q2")}
    with pytest.raises(DataRejected, match="leave rows in every split"):
        checks.gate(write_spans(spans), SCHEMA, {"new_column": "quarantine"})
    report = read_last(checks.state, "run-1")
    assert report is not None
    assert [span["action"] for span in report["spans"]] == ["quarantined", "quarantined"]


def test_a_split_of_which_no_row_is_left_is_rejected(write_spans, checks) -> None:
    coins = _rows(4, pay="Coin")
    spans = {"2013Q1": {"train": _rows(12), "eval": coins}, "2013Q2": {"train": _rows(12), "eval": coins}}
    with pytest.raises(DataRejected, match="leave rows in every split"):
        checks.gate(write_spans(spans), SCHEMA, {"unexpected_value": "quarantine"})


def test_missing_rows_cannot_be_told_when_some_may_be_missing(write_spans, checks) -> None:
    schema = SCHEMA.replace(
        "min: 0 max: 100 } presence { min_fraction: 1", "min: 0 max: 100 } presence { min_fraction: 0.9"
    )
    rows = [*_rows(8), *[{"label": 1, "pay": "Cash"}] * 8]
    _, report = checks.gate(write_spans(_spans(train=rows)), schema, {"low_presence": "quarantine"})
    assert report["decisions"][0]["action"] == "quarantine_span"


def test_the_gate_says_what_it_found_as_properties(write_spans, checks) -> None:
    rows = [*_rows(8), *[{"label": 1, "pay": "Cash"}] * 8]
    checks.gate(write_spans(_spans(train=rows)), SCHEMA, {"low_presence": "warn"})
    properties = checks.gate_result.mlmd_artifact.custom_properties
    assert properties["verdict"].string_value == "warned"
    assert properties["warnings"].int_value > 0
    assert (properties["quarantined_rows"].int_value, properties["quarantined_spans"].int_value) == (0, 0)


def test_its_type_is_one_that_kubeflow_takes_and_a_step_finds() -> None:
    from tfx.orchestration.kubeflow.v2 import compiler_utils
    from tfx.utils import import_utils

    from components.data_gate.artifact import DataGateResult

    assert "title: components.DataGateResult" in compiler_utils.get_artifact_schema(DataGateResult)
    assert import_utils.import_class_by_path(DataGateResult.TYPE_NAME) is DataGateResult
