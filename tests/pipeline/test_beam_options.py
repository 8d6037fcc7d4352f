"""Beam's options follow the size of the input."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.beam_options import beam_pipeline_args
from schema.errors import ConfigError
from schema.release import BeamConfig

SETUP = Path("/p/setup.py")


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


@pytest.mark.parametrize("own", ["--setup_file=/mine/setup.py", "--sdk_container_image=conveyor:1"])
def test_what_the_line_has_workers_install_wins(own: str) -> None:
    args = beam_pipeline_args(BeamConfig(pipeline_args=("--runner=FlinkRunner", own)), 0, SETUP)
    assert [arg for arg in args if "setup_file" in arg or "image" in arg] == [own]


def test_workers_elsewhere_get_what_setup_py_ships(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    config = BeamConfig(pipeline_args=("--runner", "FlinkRunner"))
    assert f"--setup_file={tmp_path}/setup.py" in beam_pipeline_args(config, 0, tmp_path / "setup.py")


def test_workers_elsewhere_need_something_to_install_when_there_is_no_setup_py() -> None:
    with pytest.raises(ConfigError, match="beam.pipeline_args must name one of --setup_file.* Got .*FlinkRunner"):
        beam_pipeline_args(BeamConfig(pipeline_args=("--runner=FlinkRunner",)), 0, SETUP)
