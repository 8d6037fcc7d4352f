"""Beam's options for the components of a line: its runner's, and here those that the input's size asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.code_digest import PROJECT_ROOT
from schema.beam import BeamConfig
from schema.errors import ConfigError

SETUP_FILE = PROJECT_ROOT / "setup.py"
"""By which a worker installs the project; there in a checkout only."""

SHIPPING = ("--setup_file", "--sdk_container_image", "--worker_harness_container_image")
"""Options by which workers on other machines come to have Conveyor."""


def beam_pipeline_args(config: BeamConfig, input_bytes: int, setup_file: Path) -> list[str]:
    """Returns the options for Beam.

    On this machine new worker processes cost seconds each, because each imports TensorFlow: they pay only for a large
    input. A small one gets no options at all, which means the same (in memory, one worker): given any option but none
    of `SHIPPING`, TFX packs its own installation into a source archive, once a component, at seconds each.

    Args:
        config: the line's `beam` section.
        input_bytes: size of the window's files, in bytes.
        setup_file: `setup.py`, absolute; the DirectRunner wants it named only for the above.

    Raises:
        ConfigError: workers on other machines would not have Conveyor.
    """
    args = _direct(config, input_bytes) if config.runner == "DirectRunner" else _elsewhere(config)
    if not args and not config.pipeline_args:
        return []
    if not any(argument.split("=")[0] in SHIPPING for argument in (*args, *config.pipeline_args)):
        if installs(config) and not setup_file.is_file():
            raise ConfigError(
                f"beam.sdk_container_image must be set for the workers of {config.runner} to have Conveyor: it was not "
                "installed from a checkout, whose setup.py would do. Got nothing instead",
                hint="name a container image with Conveyor in it, or install Conveyor from a checkout",
            )
        args.append(f"--setup_file={setup_file}")
    return [*args, *config.pipeline_args]


def with_own_setup_file(args: Sequence[str], setup_file: Path) -> list[str]:
    """Returns options that were made on another machine, with this one's `setup.py` where theirs is not to be found.

    Args:
        args: Beam's options.
        setup_file: this installation's `setup.py`; without such a file the option is left out.
    """
    found = []
    for argument in args:
        name, _, path = argument.partition("=")
        if name == "--setup_file" and not Path(path).is_file():
            found += [f"--setup_file={setup_file}"] if setup_file.is_file() else []
        else:
            found.append(argument)
    return found


def installs(config: BeamConfig) -> bool:
    """Returns whether the workers install Conveyor themselves, being of Beam's own image."""
    if config.sdk_container_image is not None or config.runner == "DirectRunner":
        return False
    return config.runner == "DataflowRunner" or config.environment_type == "DOCKER"


def _direct(config: BeamConfig, input_bytes: int) -> list[str]:
    mode = config.direct_running_mode
    large = input_bytes > config.large_input_bytes
    if mode == "auto":
        mode = "multi_processing" if large else "in_memory"
    workers = config.direct_num_workers or ((os.cpu_count() or 1) if large else 1)
    if mode == "in_memory" and workers == 1 and not config.pipeline_args:
        return []
    return [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]


def _elsewhere(config: BeamConfig) -> list[str]:
    options: dict[str, object] = {"runner": config.runner, "sdk_container_image": config.sdk_container_image}
    if config.runner == "DataflowRunner":
        options.update(config.dataflow.model_dump())
        # Workers of the portable kind, the only ones that take a container image of one's own.
        options["experiments"] = "use_runner_v2"
        return _as_args(options)
    for key in ("job_endpoint", "artifact_endpoint", "environment_type", "environment_config"):
        options[key] = getattr(config, key)
    if config.environment_type == "DOCKER":
        options["environment_config"] = config.sdk_container_image
    if config.runner == "FlinkRunner":
        own = config.flink
        options.update(flink_master=own.flink_master, flink_job_server_jar=own.job_server_jar)
        options["parallelism"] = config.parallelism
    elif config.runner == "SparkRunner":
        own_spark = config.spark
        options.update(spark_master_url=own_spark.spark_master_url, spark_job_server_jar=own_spark.job_server_jar)
    options["environment_cache_millis"] = config.environment_cache_millis
    return _as_args(options)


def _as_args(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value is not None]
