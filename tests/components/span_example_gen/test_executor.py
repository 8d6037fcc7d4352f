"""The real executor: TFX artifacts in and out, jobs in a Beam pipeline."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.window import OpenWindow, resolve_window
from pipeline.verdict import verdict_of_error
from schema.errors import DataRejected, SpanError
from schema.ingest import ExamplesConfig, Label

TABLE = "t,x,s,y\n" + "".join(
    f"2013-{1 + n % 9:02d}-01,{n},{'' if n % 5 == 0 else f'v{n % 3}'},{n % 2}\n" for n in range(300)
)


def execute(
    root: Path, monkeypatch: pytest.MonkeyPatch, beam_above: int = 0, *, opened: bool = False
) -> tuple[Any, list[Any]]:
    from tfx.types import standard_artifacts

    from components.span_example_gen import executor

    monkeypatch.setattr(executor, "BEAM_ABOVE_BYTES", beam_above)
    root.mkdir(exist_ok=True)
    (root / "t.csv").write_text(TABLE)
    span_by = {"column": "t", "period": "quarter", "unit": "iso8601"}
    config = ExamplesConfig(input="t.csv", span_by=span_by)
    template = standard_artifacts.Examples()
    template.uri = str(root / "out")
    template.set_string_custom_property("tfx_version", "x")
    context = executor.Executor.Context(
        beam_pipeline_args=["--direct_running_mode=in_memory", "--direct_num_workers=1"],
        tmp_dir=str(root / "tmp"),
        unique_id="1",
    )
    output = executor.Executor(context).Do(
        {},
        {"examples": [template]},
        {
            "window": (
                OpenWindow(base_dir=str(root), selection="all") if opened else resolve_window(config, root)
            ).to_json(),
            "config": json.dumps(
                {"examples": config.model_dump(mode="json"), "label": Label(name="y").model_dump(mode="json")}
            ),
            "column_types": "{}",
            "code_digest": "code",
            "state_dir": str(root / "state"),
        },
    )
    artifacts = []
    for proto in output.output_artifacts["examples"].artifacts:
        artifact = standard_artifacts.Examples()
        artifact.set_mlmd_artifact(proto)
        artifacts.append(artifact)
    return output, artifacts


def test_an_open_window_is_found_by_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, closed = execute(tmp_path / "closed", monkeypatch, beam_above=1 << 30)
    _, opened = execute(tmp_path / "opened", monkeypatch, beam_above=1 << 30, opened=True)

    def identities(artifacts: list[Any]) -> list[tuple[int, str, str]]:
        names = ("fingerprint", "ingest_key")
        return [(one.span, *(one.get_string_custom_property(name) for name in names)) for one in artifacts]

    assert len(opened) == 3 and identities(opened) == identities(closed)


def reject(job: str) -> None:
    if job == "bad":
        raise DataRejected("it must be good. Got bad instead", hint="mend it")


@pytest.mark.parametrize(("mode", "workers"), [("in_memory", 1), ("multi_threading", 2)])
def test_data_rejected_by_a_beam_worker_is_data_rejected(tmp_path: Path, mode: str, workers: int) -> None:
    from components.span_example_gen.executor import BEAM_ABOVE_BYTES, Executor

    arguments = [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    context = Executor.Context(beam_pipeline_args=arguments, tmp_dir=str(tmp_path), unique_id="1")
    with pytest.raises(Exception) as caught:
        Executor(context)._run_all(reject, ["good", "bad", "good"], BEAM_ABOVE_BYTES)
    verdict = verdict_of_error(caught.value)
    assert (verdict.outcome, verdict.exit_code) == ("data rejected", 4)
    assert [reason.text for reason in verdict.reasons] == ["it must be good. Got bad instead\n  next: mend it"]


def test_an_error_of_the_ingest_comes_out_of_beam_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.span_example_gen import executor

    for span in (1, 2):
        (tmp_path / f"t-{span}.csv").write_text("x,y\n1,2\n")
    config = ExamplesConfig(input="t-{SPAN}.csv")
    window = resolve_window(config, tmp_path)
    (tmp_path / "t-2.csv").write_text("x,y\n1,3\n")
    monkeypatch.setattr(executor, "BEAM_ABOVE_BYTES", 0)
    context = executor.Executor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1")
    request = executor.IngestRequest(
        window=window,
        examples=config,
        label=Label(name="y"),
        column_types={},
        code_digest="code",
        state_dir=str(tmp_path / "state"),
    )
    with pytest.raises(SpanError) as caught:
        executor.ingest(request, executor.Executor(context)._run_all)
    assert str(caught.value) == (
        f"{tmp_path / 't-2.csv'} must not change while a run reads it. Got other content than a moment ago instead\n"
        "  next: run again when the file is complete; write new files under another name, then rename"
    )


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_one_artifact_a_span_as_tfx_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf
    from tfx.components.util import examples_utils
    from tfx.types import artifact_utils

    _, artifacts = execute(tmp_path, monkeypatch)
    assert [artifact.span for artifact in artifacts] == [172, 173, 174]
    assert [artifact.uri for artifact in artifacts] == [
        str(tmp_path / "out" / f"span-{n:05d}") for n in (172, 173, 174)
    ]
    total = 0
    for artifact in artifacts:
        assert artifact_utils.decode_split_names(artifact.split_names) == ["train", "validation", "eval"]
        assert artifact.get_string_custom_property("tfx_version") == "x"
        assert examples_utils.get_file_format(artifact) == "tfrecords_gzip"
        assert examples_utils.get_payload_format_string(artifact) == "FORMAT_TF_EXAMPLE"
        sidecar = json.loads((Path(artifact.uri) / "span.json").read_text())
        assert artifact.get_string_custom_property("label") == sidecar["label"] in ("2013Q1", "2013Q2", "2013Q3")
        assert artifact.get_string_custom_property("ingest_key") == sidecar["ingest_key"]
        assert artifact.get_string_custom_property("fingerprint") == sidecar["fingerprint"]
        assert artifact.get_int_custom_property("rows") == sum(sidecar["rows"].values())
        for split, rows in sidecar["rows"].items():
            pattern = os.path.join(artifact_utils.get_split_uri([artifact], split), "*.gz")
            records = list(tf.data.TFRecordDataset(tf.io.gfile.glob(pattern), "GZIP"))
            assert len(records) == rows
            total += rows
            spec = {
                "x": tf.io.FixedLenFeature([], tf.int64),
                "s": tf.io.VarLenFeature(tf.string),
                "y": tf.io.FixedLenFeature([], tf.int64),
            }
            parsed = tf.io.parse_example(tf.stack(records), spec)
            x = parsed["x"].numpy()
            assert (parsed["y"].numpy() == x % 2).all()
            assert (
                tf.sparse.reduce_sum(tf.cast(tf.sparse.map_values(tf.strings.length, parsed["s"]), tf.int32), 1).numpy()
                == np.where(x % 5 == 0, 0, 2)
            ).all()
        shared = Path(artifact.uri) / "Split-train" / "data_tfrecord-00000-of-00001.gz"
        stored = tmp_path / "state" / "spans" / sidecar["ingest_key"] / "Split-train" / shared.name
        assert shared.samefile(stored)
    assert total == 300


def test_beam_or_not_another_folder_or_no_hard_links_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(tmp_path / "beam", monkeypatch)
    execute(tmp_path / "here", monkeypatch, beam_above=1 << 40)

    def refuse(*_: Any) -> None:
        raise OSError("no links on this file system")

    monkeypatch.setattr("data.whole_file.os.link", refuse)
    execute(tmp_path / "copies", monkeypatch, beam_above=1 << 40)
    expected = files(tmp_path / "beam" / "out")
    assert len(expected) == 12
    assert files(tmp_path / "here" / "out") == expected == files(tmp_path / "copies" / "out")


def test_a_second_run_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(tmp_path, monkeypatch, beam_above=1 << 40)
    expected = files(tmp_path / "out")
    for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()

    def refuse(*_: Any) -> None:
        raise AssertionError("nothing must be read")

    monkeypatch.setattr("components.span_example_gen.ingest.stage", refuse)
    monkeypatch.setattr("components.span_example_gen.ingest.encode_span", refuse)
    execute(tmp_path, monkeypatch)
    assert files(tmp_path / "out") == expected


def test_the_component_has_the_channels_of_the_graph(tmp_path: Path) -> None:
    from tfx.types import standard_artifacts

    from components.span_example_gen.component import SpanExampleGen

    node = SpanExampleGen(window="{}", config="{}", column_types="{}", code_digest="c", state_dir="s")
    assert list(node.outputs) == ["examples"]
    assert node.outputs["examples"].type is standard_artifacts.Examples
    assert sorted(node.exec_properties) == [
        "code_digest",
        "column_types",
        "config",
        "exclusions",
        "state_dir",
        "window",
    ]
