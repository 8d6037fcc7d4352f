"""The `beam` section: a runner with what it needs, or an error that names the key."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schema.beam import BeamConfig

POOL = {"environment_type": "EXTERNAL", "environment_config": "localhost:50000"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"runner": "FlinkRuner"}, "Input should be 'DirectRunner', 'FlinkRunner'"),
        ({"runner": "PortableRunner", **POOL}, "must set job_endpoint for PortableRunner"),
        ({"runner": "FlinkRunner", **POOL}, "must set job_endpoint, or flink.flink_master and flink.job_server_jar"),
        (
            {"runner": "FlinkRunner", "flink": {"flink_master": "m:1"}, **POOL},
            "must set job_endpoint, or flink.flink_master and flink.job_server_jar",
        ),
        ({"runner": "SparkRunner", **POOL}, "or spark.spark_master_url and spark.job_server_jar, for SparkRunner"),
        ({"runner": "FlinkRunner", "job_endpoint": "h:1"}, "must set environment_type for FlinkRunner"),
        (
            {"runner": "FlinkRunner", "job_endpoint": "h:1", "environment_type": "EXTERNAL"},
            "environment_config must be HOST:PORT of the worker pool for EXTERNAL. Got None instead",
        ),
        (
            {"runner": "FlinkRunner", "job_endpoint": "h:1", "environment_type": "PROCESS"},
            "environment_config must be JSON with the command for PROCESS",
        ),
        ({"runner": "FlinkRunner", "job_endpoint": "http://h:1", **POOL}, "must be HOST:PORT. Got 'http://h:1'"),
        ({"runner": "FlinkRunner", "job_endpoint": "h:70000", **POOL}, "must be HOST:PORT. Got 'h:70000'"),
        (
            {"runner": "DataflowRunner", "dataflow": {"project": "p"}},
            "dataflow must set project, region and temp_location. Got no region and no temp_location",
        ),
        ({"dataflow": {"temp_location": "/tmp"}}, "must be gs://BUCKET/FOLDER. Got '/tmp'"),
        ({"pipeline_args": ["--runner=FlinkRunner"]}, "beam.runner does. Got '--runner=FlinkRunner'"),
    ],
)
def test_a_runner_without_what_it_needs_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        BeamConfig.model_validate(config)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"runner": "PortableRunner", "job_endpoint": "[::1]:8099", **POOL},
        {"runner": "FlinkRunner", "flink": {"flink_master": "m:1", "job_server_jar": "j"}, **POOL},
        {"runner": "SparkRunner", "job_endpoint": "spark.example:8099", "environment_type": "DOCKER"},
        {"runner": "DataflowRunner", "dataflow": {"project": "p", "region": "r", "temp_location": "gs://b/t"}},
    ],
)
def test_a_runner_with_what_it_needs_is_taken(config: dict[str, Any]) -> None:
    assert BeamConfig.model_validate(config).runner == config.get("runner", "DirectRunner")
