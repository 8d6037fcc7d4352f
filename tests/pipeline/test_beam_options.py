"""Beam's options: this machine's follow the size of the input, an engine's follow the config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.beam_options import beam_pipeline_args, installs, with_own_setup_file
from schema.beam import BeamConfig
from schema.errors import ConfigError

SETUP = Path("/p/setup.py")
POOL = {"environment_type": "EXTERNAL", "environment_config": "workers:50000"}
DATAFLOW = {"project": "p", "region": "europe-west4", "temp_location": "gs://b/tmp"}


def elsewhere(**over: Any) -> BeamConfig:
    return BeamConfig.model_validate({"runner": "FlinkRunner", "job_endpoint": "flink:8099", **POOL, **over})


def test_small_inputs_start_no_worker_processes() -> None:
    assert beam_pipeline_args(BeamConfig(), 1000, SETUP) == []


def test_large_inputs_use_all_cores() -> None:
    args = beam_pipeline_args(BeamConfig(large_input_bytes=10), 1000, SETUP)
    assert args == [
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={os.cpu_count()}",
        "--setup_file=/p/setup.py",
    ]


def test_config_overrides_and_adds() -> None:
    config = BeamConfig(direct_num_workers=3, direct_running_mode="multi_threading", pipeline_args=("--x=1",))
    assert beam_pipeline_args(config, 0, SETUP) == [
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=3",
        "--setup_file=/p/setup.py",
        "--x=1",
    ]


def test_a_job_server_gets_its_workers_and_no_options_of_this_machine() -> None:
    assert beam_pipeline_args(elsewhere(parallelism=8), 10**12, SETUP) == [
        "--runner=FlinkRunner",
        "--job_endpoint=flink:8099",
        "--environment_type=EXTERNAL",
        "--environment_config=workers:50000",
        "--parallelism=8",
        "--environment_cache_millis=60000",
        "--setup_file=/p/setup.py",
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {
                "runner": "FlinkRunner",
                "flink": {"flink_master": "jobmanager:8081", "job_server_jar": "/j.jar"},
                "environment_type": "LOOPBACK",
            },
            ["--flink_master=jobmanager:8081", "--flink_job_server_jar=/j.jar", "--environment_type=LOOPBACK"],
        ),
        (
            {
                "runner": "SparkRunner",
                "spark": {"spark_master_url": "spark://master:7077", "job_server_jar": "/s.jar"},
                "environment_type": "PROCESS",
                "environment_config": '{"command": "/boot"}',
            },
            [
                "--spark_master_url=spark://master:7077",
                "--spark_job_server_jar=/s.jar",
                '--environment_config={"command": "/boot"}',
            ],
        ),
        (
            {
                "runner": "PortableRunner",
                "job_endpoint": "h:1",
                "artifact_endpoint": "h:2",
                "environment_type": "DOCKER",
                "sdk_container_image": "conveyor:1",
            },
            [
                "--artifact_endpoint=h:2",
                "--environment_type=DOCKER",
                "--environment_config=conveyor:1",
                "--sdk_container_image=conveyor:1",
            ],
        ),
        (
            {"runner": "DataflowRunner", "dataflow": {**DATAFLOW, "max_num_workers": 9}},
            [
                "--project=p",
                "--region=europe-west4",
                "--temp_location=gs://b/tmp",
                "--max_num_workers=9",
                "--experiments=use_runner_v2",
                "--setup_file=/p/setup.py",
            ],
        ),
    ],
)
def test_each_runner_gets_its_own_options(config: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    setup = tmp_path / "setup.py"
    setup.touch()
    args = beam_pipeline_args(BeamConfig.model_validate(config), 0, setup)
    assert args[0] == f"--runner={config['runner']}"
    assert not {argument.replace(str(tmp_path), "/p") for argument in expected} - {
        argument.replace(str(tmp_path), "/p") for argument in args
    }
    assert not [argument for argument in args if argument.endswith("=None")]


def test_beam_knows_every_option_that_it_is_given() -> None:
    from apache_beam.options import pipeline_options

    kinds = (
        pipeline_options.StandardOptions,
        pipeline_options.PortableOptions,
        pipeline_options.FlinkRunnerOptions,
        pipeline_options.SparkRunnerOptions,
        pipeline_options.GoogleCloudOptions,
        pipeline_options.WorkerOptions,
        pipeline_options.SetupOptions,
        pipeline_options.DebugOptions,
        pipeline_options.DirectOptions,
    )
    every = {
        "flink": {"flink_master": "m:1", "job_server_jar": "/j"},
        "spark": {"spark_master_url": "spark://m:1", "job_server_jar": "/j"},
        "dataflow": {
            **DATAFLOW,
            "service_account_email": "a@b.example",
            "machine_type": "n1-standard-4",
            "max_num_workers": 2,
            "subnetwork": "s",
        },
        "sdk_container_image": "i:1",
        "artifact_endpoint": "h:1",
        **POOL,
    }
    for runner in ("DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner"):
        args = beam_pipeline_args(BeamConfig.model_validate({"runner": runner, **every}), 10**12, SETUP)
        options = pipeline_options.PipelineOptions(args)
        known = {key for kind in kinds for key in options.view_as(kind).get_all_options(current_only=True)}
        assert {argument[2:].split("=")[0] for argument in args} <= known


@pytest.mark.parametrize("own", ["--setup_file=/mine/setup.py", "--sdk_container_image=conveyor:1"])
def test_what_the_line_has_workers_install_wins(own: str) -> None:
    args = beam_pipeline_args(elsewhere(pipeline_args=(own,)), 0, SETUP)
    assert [arg for arg in args if "setup_file" in arg or "image" in arg] == [own]


def test_workers_of_beams_own_image_need_something_to_install() -> None:
    bare = BeamConfig.model_validate({"runner": "PortableRunner", "job_endpoint": "h:1", "environment_type": "DOCKER"})
    assert installs(bare)
    with pytest.raises(ConfigError, match="beam.sdk_container_image must be set for the workers of PortableRunner"):
        beam_pipeline_args(bare, 0, SETUP)
    with pytest.raises(ConfigError, match="beam.sdk_container_image must be set for the workers of DataflowRunner"):
        beam_pipeline_args(BeamConfig.model_validate({"runner": "DataflowRunner", "dataflow": DATAFLOW}), 0, SETUP)
    assert not installs(elsewhere())


def test_a_step_takes_the_setup_py_of_its_own_image(tmp_path: Path) -> None:
    own, theirs = tmp_path / "own" / "setup.py", tmp_path / "theirs" / "setup.py"
    args = ["--runner=FlinkRunner", f"--setup_file={theirs}", "--x=1"]
    assert with_own_setup_file(args, own) == ["--runner=FlinkRunner", "--x=1"]
    own.parent.mkdir()
    own.touch()
    assert with_own_setup_file(args, own) == ["--runner=FlinkRunner", f"--setup_file={own}", "--x=1"]
    theirs.parent.mkdir()
    theirs.touch()
    assert with_own_setup_file(args, own) == args
