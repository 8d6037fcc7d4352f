"""The command line: names, defaults and syntax are TensorFlow Serving's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from schema.errors import UsageError
from serving.model_server.flags import UNUSED, Flags, ShowHelp, ShowVersion, parse, usage

MODEL = "--model_base_path=/models/m"

# Of `Server::Options` and main.cc; what is automatic there is None here.
DEFAULTS = {
    "port": 8500,
    "grpc_socket_path": "",
    "rest_api_port": 0,
    "rest_api_num_threads": None,
    "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False,
    "enable_batching": False,
    "allow_version_labels_for_unavailable_models": False,
    "batching_parameters_file": "",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "num_load_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "file_system_poll_wait_seconds": 1,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "ssl_config_file": "",
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "",
    "grpc_max_threads": None,
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0,
    "monitoring_config_file": "",
    "enable_grpc_healthcheck_service": False,
    "enable_serialization_as_tensor_content": False,
}


def test_defaults() -> None:
    flags = dataclasses.asdict(parse([MODEL]))
    assert {name: flags[name] for name in DEFAULTS} == DEFAULTS
    own = {"host", "tokens_file", "rest_api_enable_ssl"}
    assert set(flags) == {*DEFAULTS, *own, "model_base_path", "unused"}


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--port=1234", "port", 1234),
        ("--load_retry_interval_micros=-1", "load_retry_interval_micros", -1),
        ("--file_system_poll_wait_seconds=+2", "file_system_poll_wait_seconds", 2),
        ("--enable_model_warmup=false", "enable_model_warmup", False),
        ("--enable_batching=true", "enable_batching", True),
        ("--enable_batching", "enable_batching", True),
        ("--model_name=", "model_name", ""),
        ("--model_name=a=b", "model_name", "a=b"),
        ("--grpc_channel_arguments=a=1,b=c", "grpc_channel_arguments", "a=1,b=c"),
    ],
)
def test_values(argument: str, name: str, value: object) -> None:
    assert getattr(parse([MODEL, argument]), name) == value


def test_of_two_the_last_counts() -> None:
    assert parse([MODEL, "--port=1", "--port=2"]).port == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prot=1"], ["unknown argument '--prot=1'", "did you mean --port?"]),
        (["--nothing_like_it"], ["unknown argument", "--help lists"]),
        (["--rest-api-port=1"], ["unknown argument", "write it as --rest_api_port=VALUE"]),
        (["-port=1"], ["unknown argument", "write it as --port=VALUE"]),
        (["--port", "8500"], ["--port must be a whole number, written --port=VALUE. Got --port alone"]),
        (["8500"], ["unknown argument '8500'"]),
        (["--"], ["unknown argument '--'"]),
        (["--unused=x"], ["unknown argument"]),
        (["--port=x"], ["--port must be a whole number", "'x'"]),
        (["--port=1.0"], ["--port must be a whole number"]),
        (["--port="], ["--port must be a whole number"]),
        (["--max_num_load_retries=99999999999999999999"], ["--max_num_load_retries must be a whole number"]),
        (["--port=65536"], ["--port must be a port, 0 to 65535. Got 65536"]),
        (["--enable_batching=1"], ["--enable_batching must be true or false", "'1'"]),
        (["--model_name"], ["--model_name must be a text", "alone"]),
        (["--per_process_gpu_memory_fraction=much"], ["must be a number"]),
        (["--rest_api_timeout_in_ms=0"], ["--rest_api_timeout_in_ms must be 1 at least"]),
        (["--rest_api_num_threads=0"], ["--rest_api_num_threads must be 1 at least"]),
        (["--port=0"], ["--port and --grpc_socket_path must be set"]),
        (["--rest_api_port=8500"], ["--port and --rest_api_port must not be the same"]),
        (["--batching_parameters_file=f"], ["must come with --enable_batching"]),
        (["--rest_api_enable_ssl"], ["must come with --ssl_config_file"]),
        (
            [f"--tensorflow_{kind}_parallelism=2" for kind in ("session", "intra_op", "inter_op")],
            ["either --tensorflow_session_parallelism or"],
        ),
        (["--use_alts_credentials"], ["ALTS", "--ssl_config_file"]),
    ],
)
def test_wrong_arguments(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse([MODEL, *arguments])
    for word in words:
        assert word in str(caught.value)


def test_a_model_must_be_named() -> None:
    with pytest.raises(UsageError, match="--model_base_path or --model_config_file must be set"):
        parse([])
    assert parse(["--model_config_file=f"]).model_config_file == "f"


def test_gRPC_may_have_a_socket_only() -> None:
    assert parse([MODEL, "--port=0", "--grpc_socket_path=s"]).port == 0


def test_two_of_three_parallelisms_may_be_given() -> None:
    parse([MODEL, "--tensorflow_session_parallelism=2", "--tensorflow_intra_op_parallelism=2"])


@pytest.mark.parametrize("name", sorted(UNUSED))
def test_flags_that_mean_nothing_here_are_taken(name: str) -> None:
    kind, reason = UNUSED[name]
    value = {bool: "true", int: "3", float: "0.5", str: "x"}[kind]
    assert parse([MODEL, f"--{name}={value}", f"--{name}={value}"]).unused == (name,)
    assert reason in usage()


def test_ALTS_may_be_off() -> None:
    assert parse([MODEL, "--use_alts_credentials=false"]).unused == ()


def test_texts_need_no_other_flags() -> None:
    with pytest.raises(ShowHelp):
        parse(["--help"])
    with pytest.raises(ShowVersion):
        parse(["--version"])
    assert parse([MODEL, "--version=false"])


def test_the_usage_names_each_flag_with_its_default() -> None:
    text = usage()
    for field in dataclasses.fields(Flags):
        if field.metadata:
            assert f"--{field.name}=" in text
            assert field.metadata["help"] in text
    for shown in ("--port=8500 ", "--rest_api_port=0 ", "--enable_model_warmup=true ", "--enable_batching=false "):
        assert shown in text
    assert text.index("This server's own") < text.index("--host=") < text.index("without effect")


def test_the_documentation_has_each_flag() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "model-server.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `--")]
    for field in dataclasses.fields(Flags):
        if field.metadata:
            (row,) = (row for row in rows if f"`--{field.name}`" in row)
            assert field.default in (None, "", False) or f"{field.default}".lower() in row.split("|")[2], row
