"""TensorFlow, Beam, TFDV and TFX read captured files as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schema.serving import CaptureConfig
from serving.capture.hook import CaptureHook
from tests.serving.capture.exchanges import DATE, example, exchange, predict_request, strings

COUNT = 30


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty requests with an example each, in several closed files, and one that is open as if a process wrote it."""
    root = tmp_path_factory.mktemp("capture")
    with CaptureHook(root, "taxi", CaptureConfig(max_file_bytes=1024)) as hook:
        for number in range(COUNT):
            serialized = example(fare=[number / 2], company=["Blue" if number % 3 else "Red"]).SerializeToString()
            request = predict_request("serving_default", examples=strings(serialized))
            hook.done(exchange(number, request=request, signature="serving_default"))
    left = next(root.glob("*/*/*.tfrecord"))
    left.with_name(f".{left.name}.open").write_bytes(b"being written")
    return root


def _glob(root: Path) -> str:
    return str(root / DATE / "version=7" / "*.tfrecord")


def _examples(record: bytes) -> list[bytes]:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog.FromString(record)
    assert log.predict_log.response.outputs["scores"].float_val == [0.25, 0.75]
    return list(log.predict_log.request.inputs["examples"].string_val)


def _fares(examples: list[bytes]) -> list[float]:
    import tensorflow as tf

    return [tf.train.Example.FromString(one).features.feature["fare"].float_list.value[0] for one in examples]


def test_tensorflow(root: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    files = tf.data.Dataset.list_files(_glob(root), shuffle=False)
    records = list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    examples = [one for record in records for one in _examples(record)]
    assert sorted(_fares(examples)) == [number / 2 for number in range(COUNT)]


def test_a_file_is_a_models_warm_up(root: Path) -> None:
    warm_up = pytest.importorskip("serving.model_server.warm_up")
    seen: list[Any] = []
    for path in sorted(root.glob("*/*/*.tfrecord")):
        warm_up.replay(path, lambda signature, inputs: seen.append((signature, inputs["examples"].shape)))
    assert seen == [("serving_default", (1,))] * COUNT


def test_beam_and_tfdv(root: Path, tmp_path: Path) -> None:
    beam = pytest.importorskip("apache_beam")
    tfdv = pytest.importorskip("tensorflow_data_validation")
    from tfx_bsl.public.tfxio import TFExampleBeamRecord

    output = tmp_path / "statistics.pb"
    with beam.Pipeline(runner="DirectRunner") as pipeline:
        (
            pipeline
            | beam.io.ReadFromTFRecord(_glob(root))
            | beam.FlatMap(_examples)
            | TFExampleBeamRecord(physical_format="inmem", telemetry_descriptors=["test"]).BeamSource()
            | tfdv.GenerateStatistics()
            | tfdv.WriteStatisticsToBinaryFile(str(output))
        )
    statistics = tfdv.load_stats_binary(str(output)).datasets[0]
    assert statistics.num_examples == COUNT
    features = {feature.path.step[0]: feature for feature in statistics.features}
    assert features["fare"].num_stats.max == (COUNT - 1) / 2
    assert {rank.label: rank.sample_count for rank in features["company"].string_stats.rank_histogram.buckets} == {
        "Blue": 20,
        "Red": 10,
    }


@pytest.mark.slow
def test_tfx_imports_them(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("tfx")
    from tfx.components.example_gen.import_example_gen.executor import Executor
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.proto import example_gen_pb2
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    pattern = example_gen_pb2.Input.Split(name="all", pattern=f"{DATE}/version=7/*.tfrecord")
    split = example_gen_pb2.SplitConfig.Split(name="all", hash_buckets=1)
    executor = Executor(BaseBeamExecutor.Context(beam_pipeline_args=["--runner=DirectRunner"], tmp_dir=str(tmp_path)))
    executor.Do(
        {},
        {"examples": [examples]},
        {
            "input_base": str(root),
            "input_config": proto_utils.proto_to_json(example_gen_pb2.Input(splits=[pattern])),
            "output_config": proto_utils.proto_to_json(
                example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=[split]))
            ),
            "output_data_format": example_gen_pb2.FORMAT_PROTO,
            "output_file_format": 5,
        },
    )
    import tensorflow as tf

    files = [str(path) for path in Path(examples.uri).rglob("*.gz")]
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    found = [one for record in records for one in _examples(record)]
    assert np.array_equal(sorted(_fares(found)), np.arange(COUNT) / 2)
