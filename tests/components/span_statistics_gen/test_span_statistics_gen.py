"""SpanStatisticsGen: the statistics are right, the same every time, and an unchanged span's are reused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from components.span_statistics_gen.artifacts import by_span, span_label
from components.span_statistics_gen.records import read_batches, split_files
from components.span_statistics_gen.statistics import (
    decoded_batches,
    merged_statistics,
    num_examples,
    partial_statistics,
    read_statistics,
    statistics_path,
)
from components.span_statistics_gen.store import keep, restore, statistics_key
from schema.errors import ConveyorError

# Sums of these amounts depend on the order in which they are added.
ROWS = [
    {"number": i % 7, "amount": i / 4 + 0.1 ** (i % 5), "text": "ab"[i % 2], **({"some": 1.5} if i % 4 else {})}
    for i in range(40)
]
SPANS = {
    "2013Q1": {"train": ROWS[:20], "eval": ROWS[20:25]},
    "2013Q2": {"train": ROWS[25:], "eval": []},
}


def _bytes(artifacts: list[Any]) -> dict[str, bytes]:
    return {
        f"{artifact.span}/{split}": statistics_path(artifact.uri, split).read_bytes()
        for artifact in artifacts
        for split in ("train", "eval")
    }


def _feature(statistics: Any, name: str) -> Any:
    return next(feature for feature in statistics.datasets[0].features if feature.path.step[0] == name)


def test_statistics_of_every_span_and_split(write_spans, checks) -> None:
    artifacts = checks.statistics(write_spans(SPANS))
    assert [(artifact.span, span_label(artifact)) for artifact in artifacts] == [(100, "2013Q1"), (101, "2013Q2")]
    assert [Path(artifact.uri).name for artifact in artifacts] == ["span-00100", "span-00101"]
    assert {Path(artifact.uri).parent for artifact in artifacts} == {checks.root / "statistics"}
    train = read_statistics(artifacts[0].uri, "train")
    assert num_examples(train) == 20
    amount = _feature(train, "amount").num_stats
    assert (amount.min, amount.max) == (pytest.approx(0.35), pytest.approx(4.7501))
    assert amount.common_stats.num_non_missing == 20
    assert _feature(train, "some").num_stats.common_stats.num_missing == 5
    text = _feature(train, "text").string_stats
    assert {bucket.label: bucket.sample_count for bucket in text.rank_histogram.buckets} == {"a": 10, "b": 10}
    assert [feature.path.step[0] for feature in train.datasets[0].features] == ["amount", "number", "some", "text"]


def test_a_split_without_rows_has_empty_statistics(write_spans, checks) -> None:
    artifacts = checks.statistics(write_spans(SPANS))
    assert num_examples(read_statistics(artifacts[1].uri, "eval")) == 0


def test_numbers_have_deciles(write_spans, checks) -> None:
    rows = [{"x": float(i), "n": i} for i in range(1000)]
    (artifact,) = checks.statistics(write_spans({"0": {"train": rows}}))
    for name in ("x", "n"):
        histograms = {h.type: h for h in _feature(read_statistics(artifact.uri, "train"), name).num_stats.histograms}
        deciles = histograms[1].buckets
        assert len(deciles) == 10
        assert [round(bucket.high_value, -1) for bucket in deciles] == [100 * i for i in range(1, 11)]
        assert sum(bucket.sample_count for bucket in deciles) == pytest.approx(1000)
        assert len(histograms[0].buckets) == 10


def test_columns_without_numbers_or_with_nan_only_have_no_deciles(write_spans, checks) -> None:
    (artifact,) = checks.statistics(write_spans({"0": {"train": [{"x": float("nan"), "t": "a"}] * 3}}))
    statistics = read_statistics(artifact.uri, "train")
    assert {histogram.num_nan for histogram in _feature(statistics, "x").num_stats.histograms} == {3}


def test_same_rows_give_the_same_bytes(write_spans, checks) -> None:
    examples = write_spans(SPANS)
    for directory in (checks.state / "spans").iterdir():
        directory.rmdir()  # so that nothing is reused
    first = _bytes(checks.statistics(examples, "first"))
    assert first == _bytes(checks.statistics(list(reversed(examples)), "second"))


def test_beam_gives_the_same_bytes_as_the_process_itself(write_spans, checks) -> None:
    examples = write_spans(SPANS, shards=3)
    for directory in (checks.state / "spans").iterdir():
        directory.rmdir()
    here = _bytes(checks.statistics(examples, "here"))
    assert here == _bytes(checks.statistics(examples, "beam", '{"inline_max_rows": 0}'))


def test_a_damaged_file_is_named_by_beam_workers_too(write_spans, checks) -> None:
    examples = write_spans(SPANS)
    (file,) = split_files(examples[1].uri, "train")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ConveyorError, match=f"^{file} must be a file of TFRecords") as caught:
        checks.statistics(examples, config='{"inline_max_rows": 0}')
    assert "run again" in caught.value.hint
    assert "while running" not in str(caught.value)


def test_statistics_do_not_depend_on_how_rows_are_cut_into_batches(write_spans) -> None:
    (examples,) = write_spans({"0": {"train": ROWS}})
    files = split_files(examples.uri, "train")
    whole, cut = (merged_statistics([partial_statistics(decoded_batches(files, rows))]) for rows in (100, 7))
    assert [f.SerializeToString() for f in whole.datasets[0].features if f.path.step[0] != "amount"] == [
        f.SerializeToString() for f in cut.datasets[0].features if f.path.step[0] != "amount"
    ]
    # Means are sums in another order.
    assert _feature(whole, "amount").num_stats.mean == pytest.approx(_feature(cut, "amount").num_stats.mean)


def test_an_unchanged_span_is_linked_from_the_store(write_spans, checks) -> None:
    examples = write_spans(SPANS)
    first = checks.statistics(examples, "first")
    for span in examples:
        for split in ("train", "eval"):
            for file in split_files(span.uri, split):
                file.unlink()  # whoever computes them again fails, or finds other rows
    second = checks.statistics(examples, "second")
    assert _bytes(first) == _bytes(second)
    paths = [statistics_path(artifact.uri, "train") for artifact in (first[0], second[0])]
    assert os.path.samefile(*paths)


def test_another_span_is_computed_anew(write_spans, checks) -> None:
    checks.statistics(write_spans({"a": {"train": ROWS[:5]}}), "first")
    (other,) = checks.statistics(write_spans({"b": {"train": ROWS[:6]}}, name="others"), "second")
    assert num_examples(read_statistics(other.uri, "train")) == 6


def test_other_code_makes_another_key() -> None:
    assert statistics_key("one") == statistics_key("one") != statistics_key("other")


def test_nothing_is_stored_for_a_span_that_the_store_lacks(write_spans, checks) -> None:
    examples = write_spans({"a": {"train": ROWS[:5]}})
    (checks.state / "spans" / "key-a").rmdir()
    checks.statistics(examples)
    assert not (checks.state / "spans" / "key-a").exists()


def test_the_store_takes_all_splits_or_none(tmp_path: Path) -> None:
    uri, stored = tmp_path / "uri", tmp_path / "key" / "stats-1"
    stored.parent.mkdir()
    path = statistics_path(uri, "train")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        keep(uri, stored, ["train", "eval"])
    assert not restore(stored, tmp_path / "again", ["train"])
    keep(uri, stored, ["train"])
    assert not restore(stored, tmp_path / "again", ["train", "eval"])
    assert restore(stored, tmp_path / "again", ["train"])
    statistics_path(uri, "eval").parent.mkdir(parents=True)
    statistics_path(uri, "eval").write_bytes(b"y")
    keep(uri, stored, ["train", "eval"])
    assert restore(stored, tmp_path / "again", ["train", "eval"])
    assert os.listdir(stored.parent) == ["stats-1"]


def test_spans_are_sorted_by_number(write_spans) -> None:
    examples = write_spans(SPANS)
    assert [artifact.span for artifact in by_span(reversed(examples))] == [100, 101]


@pytest.mark.parametrize("rows", [1, 3, 39, 40, 41])
def test_batches_hold_all_records_in_order(write_spans, rows: int) -> None:
    (examples,) = write_spans({"0": {"train": ROWS}}, shards=3)
    files = split_files(examples.uri, "train")
    assert len(files) == 3
    batches = list(read_batches(files, rows))
    assert all(len(batch) == rows for batch in batches[:-1])
    assert sum(batches, []) == sum(read_batches(files, 1000), [])
    assert sum(map(len, batches)) == 40


def test_a_damaged_file_is_named(write_spans) -> None:
    (examples,) = write_spans({"0": {"train": ROWS}})
    (file,) = split_files(examples.uri, "train")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ConveyorError, match="data_tfrecord-00000-of-00001.gz must be a file of TFRecords"):
        list(read_batches([file], 10))


def test_stock_tools_read_the_result(write_spans, checks) -> None:
    from tfx.components.statistics_gen import stats_artifact_utils

    artifacts = checks.statistics(write_spans(SPANS))
    view = stats_artifact_utils.load_statistics(artifacts[0], "train")
    assert view.proto().datasets[0].num_examples == 20
