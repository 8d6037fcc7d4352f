"""What becomes of each flag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.model_server import server
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.flags import parse
from serving.model_server.model_config import ModelConfig, ServerModels
from serving.model_server.server import ModelServer
from serving.model_server.session import SessionOptions

PARTS = ("Manager", "GrpcServer", "RestServer", "ConfigFollower")


class Part:
    """Stands for a part of the server, and keeps what it was made with."""

    made: dict[str, Part] = {}

    def __init__(self, name: str, *positional: Any, **named: Any) -> None:
        self.positional = positional
        self.named = named
        self.made[name] = self


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """The parts of the server that is made in the test, by class; each is a stand-in."""
    Part.made = {}
    for name in PARTS:
        monkeypatch.setattr(server, name, lambda *args, _name=name, **named: Part(_name, *args, **named))
    return Part.made


def make(*flags: str) -> None:
    ModelServer(parse(["--model_base_path=/models/m", *flags]))


def test_by_default(made: dict[str, Part]) -> None:
    make()
    assert set(made) == {"Manager", "GrpcServer"}
    manager = made["Manager"]
    assert manager.positional == (ServerModels((ModelConfig("default", "/models/m"),)),)
    options = manager.named.pop("load_options")
    assert manager.named == {
        "file_system_poll_wait_seconds": 1,
        "num_load_threads": 0,
        "allow_version_labels_for_unavailable_models": False,
    }
    assert options.session == SessionOptions(0, 0, ("serve",))
    assert (options.max_num_load_retries, options.load_retry_interval_micros) == (5, 60_000_000)
    assert (options.enable_model_warmup, options.num_request_iterations_for_warmup) == (True, 0)
    assert (options.batching, options.verify) == (None, None)
    grpc = made["GrpcServer"]
    access = grpc.named.pop("access")
    assert (access.tokens, access.tls) == (None, None)
    assert grpc.named == {
        "port": 8500,
        "address": "",
        "socket_path": "",
        "metrics": None,
        "health": False,
        "as_content": False,
        "inline": True,
        "max_threads": None,
        "channel_arguments": "",
    }


@pytest.mark.parametrize(
    ("flags", "part", "name", "value"),
    [
        ("--file_system_poll_wait_seconds=0", "Manager", "file_system_poll_wait_seconds", 0),
        ("--num_load_threads=3", "Manager", "num_load_threads", 3),
        (
            "--allow_version_labels_for_unavailable_models",
            "Manager",
            "allow_version_labels_for_unavailable_models",
            True,
        ),
        ("--port=1", "GrpcServer", "port", 1),
        ("--port=0 --grpc_socket_path=/s", "GrpcServer", "port", None),
        ("--grpc_socket_path=/s", "GrpcServer", "socket_path", "/s"),
        ("--enable_grpc_healthcheck_service", "GrpcServer", "health", True),
        ("--enable_serialization_as_tensor_content", "GrpcServer", "as_content", True),
        ("--enable_batching", "GrpcServer", "inline", False),
        ("--grpc_max_threads=3", "GrpcServer", "max_threads", 3),
        ("--grpc_channel_arguments=a=1", "GrpcServer", "channel_arguments", "a=1"),
        ("--host=127.0.0.1", "GrpcServer", "address", "127.0.0.1"),
        ("--host=::1", "GrpcServer", "address", "::1"),
        ("--rest_api_port=1", "RestServer", "port", 1),
        ("--rest_api_port=1", "RestServer", "address", ""),
        ("--rest_api_port=1", "RestServer", "inline", True),
        ("--rest_api_port=1", "RestServer", "metrics_path", ""),
        ("--rest_api_port=1", "RestServer", "timeout_seconds", 30),
        ("--rest_api_port=1 --rest_api_timeout_in_ms=1500", "RestServer", "timeout_seconds", 1.5),
        ("--rest_api_port=1 --rest_api_num_threads=3", "RestServer", "num_threads", 3),
        ("--rest_api_port=1 --rest_api_enable_cors_support", "RestServer", "cors", True),
        ("--rest_api_port=1 --enable_batching", "RestServer", "inline", False),
        ("--rest_api_port=1 --host=::1", "RestServer", "address", "::1"),
    ],
)
def test_a_flag_reaches_its_part(made: dict[str, Part], flags: str, part: str, name: str, value: object) -> None:
    make(*flags.split())
    assert made[part].named[name] == value


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        ("--max_num_load_retries=0", "max_num_load_retries", 0),
        ("--load_retry_interval_micros=-1", "load_retry_interval_micros", -1),
        ("--enable_model_warmup=false", "enable_model_warmup", False),
        ("--num_request_iterations_for_warmup=2", "num_request_iterations_for_warmup", 2),
        ("--enable_batching", "batching", BatchingParameters(thread_pool_name="model_server_batch_threads")),
        ("--saved_model_tags=serve,gpu", "session", SessionOptions(0, 0, ("serve", "gpu"))),
        ("--tensorflow_session_parallelism=3", "session", SessionOptions(3, 3)),
        ("--tensorflow_intra_op_parallelism=3", "session", SessionOptions(3, 0)),
        ("--tensorflow_inter_op_parallelism=3 --tensorflow_session_parallelism=2", "session", SessionOptions(0, 3)),
    ],
)
def test_a_flag_reaches_what_loads(made: dict[str, Part], flags: str, name: str, value: object) -> None:
    make(*flags.split())
    assert getattr(made["Manager"].named["load_options"], name) == value


def test_metrics_are_counted_where_they_can_be_seen(made: dict[str, Part], tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: true path: '/m' }")
    make("--rest_api_port=1", f"--monitoring_config_file={file}")
    assert made["RestServer"].named["metrics_path"] == "/m"
    assert made["RestServer"].named["metrics"] is made["GrpcServer"].named["metrics"] is not None
    file.write_text("prometheus_config { enable: false }")
    make("--rest_api_port=1", f"--monitoring_config_file={file}")
    assert made["RestServer"].named["metrics"] is made["GrpcServer"].named["metrics"] is None


def test_a_config_file_is_followed_when_asked(made: dict[str, Part], tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text('model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" } }')
    ModelServer(parse([f"--model_config_file={file}"]))
    assert made["Manager"].positional == (ServerModels((ModelConfig("a", "/a"),)),)
    assert "ConfigFollower" not in made
    # The model of the command line does not count then.
    make(f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=7")
    assert made["Manager"].positional == (ServerModels((ModelConfig("a", "/a"),)),)
    assert made["ConfigFollower"].positional[::2] == (str(file), 7)


def test_a_single_model_is_not_followed(made: dict[str, Part]) -> None:
    make("--model_config_file_poll_wait_seconds=7")
    assert "ConfigFollower" not in made
