"""`conveyor compile`: a file, the same every time, or an error that names the key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conveyor import cli
from tests.e2e.line_runs import Workplace

PLACE = {"image": "registry.example/conveyor:1", "pipeline_root": "gs://bucket/root"}


def run(workplace: Workplace, *args: str) -> int:
    return cli.main(["compile", str(workplace.folder / "line.yaml"), *args])


@pytest.mark.parametrize(
    ("orchestration", "target", "said"),
    [
        ({}, "vertex", "orchestration.image must be set to compile for vertex"),
        ({"image": "i"}, "kubeflow", "orchestration.pipeline_root must be set to compile for kubeflow"),
        ({**PLACE, "pipeline_root": "/mnt/root"}, "vertex", "must be gs://BUCKET/FOLDER for vertex. Got '/mnt/root'"),
        ({**PLACE, "pipeline_root": "bucket"}, "vertex", "must be an absolute folder or SCHEME://BUCKET/FOLDER"),
        ({**PLACE, "pipeline_root": "s3:///y"}, "kubeflow", "must be an absolute folder or SCHEME://BUCKET/FOLDER"),
        ({**PLACE, "state": "gs://bucket/state"}, "vertex", "must be an absolute folder. Got"),
        ({**PLACE, "resources": {"Trainr": {"cpu": "1"}}}, "vertex", "resources must name components"),
        (
            {**PLACE, "resources": {"Trainer": {"memory": "lots"}}},
            "vertex",
            "must be a quantity such as 4, 500m or 16Gi",
        ),
        ({**PLACE, "max_retry_count": -1}, "vertex", "orchestration.max_retry_count"),
        ({**PLACE, "imge": "x"}, "vertex", "image"),
    ],
)
def test_a_wrong_place_is_named_with_its_key_before_anything_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], orchestration: dict[str, object], target: str, said: str
) -> None:
    workplace = Workplace(tmp_path).shipped("census", orchestration=orchestration)
    assert run(workplace, "--target", target, "-o", str(tmp_path / "out")) == 2
    told = capsys.readouterr().err
    assert said in told and str(tmp_path / "line.yaml") in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("args", [[], ["--target", "airflow"]])
def test_a_target_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    assert run(Workplace(tmp_path).shipped("census", orchestration=PLACE), *args) == 2
    assert "target" in capsys.readouterr().err


def test_it_writes_the_same_file_every_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "state"))
    workplace = Workplace(tmp_path).shipped("taxi", orchestration=PLACE)
    for name in ("one.json", "two.json"):
        assert run(workplace, "--target", "vertex", "-o", str(tmp_path / name)) == 0
    assert "12 steps of registry.example/conveyor:1, pipeline root gs://bucket/root" in capsys.readouterr().out
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    job = json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))
    window = json.loads(
        job["pipelineSpec"]["root"]["dag"]["tasks"]["SpanExampleGen"]["inputs"]["parameters"]["window"]["runtimeValue"][
            "constant"
        ]
    )
    assert len(window["spans"]) == 16
    assert not (tmp_path / "state").exists(), "compiling leaves the line's state alone"
