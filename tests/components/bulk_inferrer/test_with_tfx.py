"""TFX's BulkInferrer writes the same records where it can, and TFX's tools read ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipeline.batch.toy_line import ToyLine, csv_rows, write_model

ROWS = 40


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A regression model and the records of a batch of it; such a model is one that RunInference can run."""
    from conveyor import cli

    folder = tmp_path_factory.mktemp("tfx")
    model = write_model(folder / "model", "regression", 3)
    toy = ToyLine.make(folder / "toy", "regression")
    toy.push(1, model)
    toy.table("in.csv", csv_rows(ROWS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVEYOR_HOME", str(toy.folder / "state"))
        patch.chdir(toy.folder)
        assert cli.main(["batch", str(toy.folder), "--input", "in.csv", "--output", "out"]) == 0
    return model, toy.logs("out")


def test_records_are_those_of_run_inference(logs: tuple[Path, list[Any]]) -> None:
    from tfx_bsl.beam.run_inference import create_model_handler
    from tfx_bsl.public.proto import model_spec_pb2

    model, ours = logs
    spec = model_spec_pb2.SavedModelSpec(model_path=str(model), tag=["serve"], signature_name=["serving_default"])
    handler = create_model_handler(model_spec_pb2.InferenceSpecType(saved_model_spec=spec), None, None)
    examples = [log.predict_log.request.inputs["examples"].string_val[0] for log in ours]
    theirs = handler.run_inference(examples, handler.load_model())
    assert len(ours) == len(theirs) == ROWS
    for log, other in zip(ours, theirs, strict=True):
        kept = type(log)()
        kept.predict_log.CopyFrom(log.predict_log)
        for one in (kept.predict_log.request.model_spec, kept.predict_log.response.model_spec):
            assert (one.name, one.version.value) == ("toy", 1)
            one.ClearField("name")
            one.ClearField("version")
        assert kept == other


def test_tfx_turns_records_into_examples(logs: tuple[Path, list[Any]]) -> None:
    from google.protobuf import text_format
    from tfx.components.bulk_inferrer import prediction_to_example_utils
    from tfx.proto import bulk_inferrer_pb2

    wanted = text_format.Parse(
        'output_columns_spec { predict_output { output_columns { output_key: "predictions" output_column: "p" } } }',
        bulk_inferrer_pb2.OutputExampleSpec(),
    )
    examples = [prediction_to_example_utils.convert(log, wanted) for log in logs[1]]
    assert [one.features.feature["count"].int64_list.value[0] for one in examples] == [row % 5 for row in range(ROWS)]
    assert np.ptp([one.features.feature["p"].float_list.value[0] for one in examples]) > 0.1


def test_run_inference_cannot_run_a_classifier(tmp_path: Path) -> None:
    """Why components/bulk_inferrer/inference.py does without it; when this fails, look again."""
    from tfx_bsl.beam.run_inference import create_model_handler
    from tfx_bsl.public.proto import model_spec_pb2

    model = write_model(tmp_path / "model", "binary_classification", 3)
    spec = model_spec_pb2.SavedModelSpec(model_path=str(model), tag=["serve"], signature_name=["serving_default"])
    handler = create_model_handler(model_spec_pb2.InferenceSpecType(saved_model_spec=spec), None, None)
    with pytest.raises(AttributeError, match="'bytes' object has no attribute 'dtype'"):
        handler.run_inference([b""], handler.load_model())
