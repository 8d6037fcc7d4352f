"""Section of a line config about Beam: which runner carries the data-parallel components, and its options."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from schema.base import Section

Runner = Literal["DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner"]
PORTABLE: tuple[Runner, ...] = ("FlinkRunner", "SparkRunner", "PortableRunner")
"""Runners that a job server takes pipelines for, by Beam's job API."""

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


class FlinkConfig(Section):
    """FlinkRunner: the cluster, where no job server is there already."""

    flink_master: str | None = None
    """Host and port of Flink's REST interface. Needs `job_server_jar`; a job server of `beam.job_endpoint` knows its
    cluster itself."""
    job_server_jar: str | None = None
    """Beam's job server for that version of Flink (`beam-runners-flink-1.NN-job-server`), a file: nothing is
    downloaded."""


class SparkConfig(Section):
    """SparkRunner: the cluster, where no job server is there already."""

    spark_master_url: str | None = None
    """The cluster's master, e.g. `spark://HOST:7077`. Needs `job_server_jar`; a job server of `beam.job_endpoint` knows
    its cluster itself."""
    job_server_jar: str | None = None
    """Beam's job server for Spark (`beam-runners-spark-3-job-server`), a file: nothing is downloaded."""


class DataflowConfig(Section):
    """DataflowRunner: where in Google Cloud, and with what."""

    project: str | None = None
    """The project that pays."""
    region: str | None = None
    """The region of the workers, e.g. `europe-west4`."""
    temp_location: str | None = None
    """`gs://BUCKET/FOLDER` for temporary files and what workers install."""
    service_account_email: str | None = None
    """Whom the workers act as; by default the project's Compute Engine account."""
    machine_type: str | None = None
    """The workers' machines, e.g. `n1-standard-4`."""
    max_num_workers: int | None = Field(default=None, ge=1)
    """The most workers at a time."""
    subnetwork: str | None = None
    """The workers' subnetwork."""

    @field_validator("temp_location")
    @classmethod
    def _bucket(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"gs://[^/]", value):
            raise ValueError(f"must be gs://BUCKET/FOLDER. Got {value!r} instead")
        return value


class BeamConfig(Section):
    """Beam: how the data-parallel components run."""

    runner: Runner = "DirectRunner"
    """`DirectRunner` is this machine. `PortableRunner` is any engine with a Beam job server at `job_endpoint`, Prism
    among them."""
    direct_num_workers: int = Field(default=0, ge=0)
    """Workers of the DirectRunner; 0 takes one a core when the input is large and one otherwise."""
    direct_running_mode: Literal["auto", "in_memory", "multi_threading", "multi_processing"] = "auto"
    """`auto` is in_memory for small inputs (new processes cost more than they save) and multi_processing above
    `large_input_bytes`."""
    large_input_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    """What `auto` takes for a large input."""
    job_endpoint: str | None = None
    """Flink, Spark, PortableRunner: HOST:PORT of the job server."""
    artifact_endpoint: str | None = None
    """HOST:PORT where the job server takes what workers install; by default it says so itself."""
    environment_type: Literal["DOCKER", "EXTERNAL", "PROCESS", "LOOPBACK"] | None = None
    """Flink, Spark, PortableRunner: what workers are. `EXTERNAL`: worker pools that are there already. `DOCKER`:
    containers of `sdk_container_image`. `PROCESS`: a command. `LOOPBACK`: this process, for one host only."""
    environment_config: str | None = None
    """HOST:PORT of the worker pool (EXTERNAL), or JSON with the command (PROCESS)."""
    environment_cache_millis: int = Field(default=60_000, ge=0)
    """Flink, Spark: how long workers are kept for the next stage. Without it every stage starts its own, which import
    TensorFlow each."""
    sdk_container_image: str | None = None
    """DOCKER and Dataflow: a container image with Conveyor in it. By default Beam's own, in which workers install
    Conveyor by its setup.py, minutes each."""
    parallelism: int | None = Field(default=None, ge=1)
    """Flink: how many tasks work on a stage side by side."""
    flink: FlinkConfig = Field(default_factory=FlinkConfig)
    """FlinkRunner without a `job_endpoint`."""
    spark: SparkConfig = Field(default_factory=SparkConfig)
    """SparkRunner without a `job_endpoint`."""
    dataflow: DataflowConfig = Field(default_factory=DataflowConfig)
    """DataflowRunner."""
    pipeline_args: tuple[str, ...] = ()
    """Further options handed to Beam as they are."""

    @field_validator("job_endpoint", "artifact_endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not _is_address(value):
            raise ValueError(f"must be HOST:PORT. Got {value!r} instead")
        return value

    @field_validator("pipeline_args")
    @classmethod
    def _no_second_runner(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for argument in value:
            if argument.split("=")[0] == "--runner":
                raise ValueError(f"must not name the runner: beam.runner does. Got {argument!r} instead")
        return value

    @model_validator(mode="after")
    def _complete(self) -> BeamConfig:
        if self.runner in PORTABLE:
            self._portable()
        elif self.runner == "DataflowRunner":
            missing = [key for key in ("project", "region", "temp_location") if getattr(self.dataflow, key) is None]
            if missing:
                raise ValueError(
                    f"dataflow must set project, region and temp_location. Got no {' and no '.join(missing)}"
                )
        return self

    def _portable(self) -> None:
        if self.job_endpoint is None:
            own = {
                "FlinkRunner": ("flink_master", self.flink.flink_master, self.flink.job_server_jar),
                "SparkRunner": ("spark_master_url", self.spark.spark_master_url, self.spark.job_server_jar),
            }
            if self.runner not in own:
                raise ValueError(f"must set job_endpoint for {self.runner}. Got nothing instead")
            key, master, archive = own[self.runner]
            if master is None or archive is None:
                name = self.runner.removesuffix("Runner").lower()
                raise ValueError(
                    f"must set job_endpoint, or {name}.{key} and {name}.job_server_jar, for {self.runner}. "
                    "Got neither instead"
                )
        if self.environment_type is None:
            raise ValueError(
                f"must set environment_type for {self.runner}, to EXTERNAL, DOCKER, PROCESS or LOOPBACK. "
                "Got nothing instead"
            )
        if self.environment_type == "EXTERNAL" and not _is_address(self.environment_config or ""):
            raise ValueError(
                "environment_config must be HOST:PORT of the worker pool for EXTERNAL. "
                f"Got {self.environment_config!r} instead"
            )
        if self.environment_type == "PROCESS" and not self.environment_config:
            raise ValueError("environment_config must be JSON with the command for PROCESS. Got nothing instead")


def _is_address(value: str) -> bool:
    match = _ADDRESS.fullmatch(value)
    return match is not None and 0 < int(match[2]) < 2**16
