"""The command line of the model server: TensorFlow Serving's flags, with its names, defaults and syntax."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import Any

from schema.errors import UsageError

PROGRAM = "conveyor-model-server"

_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = range(-(2**63), 2**63)
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class _Show(Exception):
    """A text is asked for instead of a server."""


class ShowHelp(_Show):
    """`--help`."""


class ShowVersion(_Show):
    """`--version`."""


def _flag(default: Any, help_: str, *, kind: type | None = None, ours: bool = False) -> Any:
    metadata = {"help": help_, "kind": kind or type(default), "ours": ours}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Flags:
    """What the command line asks for: a field a flag, and `unused`.

    Attributes:
        unused: the flags of TensorFlow Serving that were given and mean nothing here, in order.

    Raises:
        UsageError: the flags contradict each other, or one is out of its range.
    """

    port: int = _flag(8500, "TCP port for gRPC; 0 for none, which needs --grpc_socket_path.")
    grpc_socket_path: str = _flag("", "UNIX socket for gRPC, besides.")
    rest_api_port: int = _flag(0, "TCP port for REST; 0 for none.")
    rest_api_num_threads: int | None = _flag(None, "Threads for REST requests that take long; 4 a CPU.", kind=int)
    rest_api_timeout_in_ms: int = _flag(30000, "ms for a REST request.")
    rest_api_enable_cors_support: bool = _flag(False, "Browsers may call from pages of any origin.")
    model_name: str = _flag("default", "Name of the model; not with --model_config_file.")
    model_base_path: str = _flag("", "Absolute path of the folder of its versions; not with --model_config_file.")
    model_config_file: str = _flag("", "ModelServerConfig as a text protocol buffer: several models, policies, labels.")
    model_config_file_poll_wait_seconds: int = _flag(0, "Seconds between readings of that file; 0: once.")
    file_system_poll_wait_seconds: int = _flag(1, "Seconds between looks for new versions; 0: once; negative: never.")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "A label that is not in use may be given to a version that is not available yet."
    )
    enable_batching: bool = _flag(False, "Put requests together into batches.")
    batching_parameters_file: str = _flag("", "BatchingParameters as a text protocol buffer.")
    max_num_load_retries: int = _flag(5, "Attempts to load a version after the first.")
    load_retry_interval_micros: int = _flag(60_000_000, "µs between them; negative: none.")
    num_load_threads: int = _flag(0, "Versions that are loaded at the same time after the start; 0: one.")
    enable_model_warmup: bool = _flag(True, "Replay a version's warm-up file before it is available.")
    num_request_iterations_for_warmup: int = _flag(0, "How often each of its requests is run, if above 0.")
    saved_model_tags: str = _flag("serve", "Tags of the meta graph, separated by commas.")
    tensorflow_session_parallelism: int = _flag(0, "Threads of a session, within and between operations; 0: automatic.")
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads within an operation; 0: automatic.")
    tensorflow_inter_op_parallelism: int = _flag(0, "Operations that run at the same time; 0: automatic.")
    ssl_config_file: str = _flag("", "SSLConfig as a text protocol buffer: TLS on the gRPC port.")
    monitoring_config_file: str = _flag("", "MonitoringConfig as a text protocol buffer: metrics on the REST port.")
    grpc_channel_arguments: str = _flag("", "Arguments for gRPC: NAME=VALUE,NAME=VALUE.")
    grpc_max_threads: int | None = _flag(None, "Threads for gRPC requests that take long; 4 a CPU.", kind=int)
    enable_grpc_healthcheck_service: bool = _flag(False, "Answer grpc.health.v1.Health.")
    enable_serialization_as_tensor_content: bool = _flag(False, "Predict answers in tensor_content.")

    host: str = _flag("", "Address to listen on; empty for all.", ours=True)
    tokens_file: str = _flag("", "File of the bearer tokens that are let in, `read TOKEN` or `admin TOKEN`.", ours=True)
    rest_api_enable_ssl: bool = _flag(False, "The SSL config holds for the REST port too.", ours=True)

    unused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("port", "rest_api_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise UsageError(f"--{name} must be a port, 0 to 65535. Got {getattr(self, name)} instead")
        for name in ("rest_api_num_threads", "grpc_max_threads", "rest_api_timeout_in_ms"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be 1 at least. Got {value} instead")
        if not self.port and not self.grpc_socket_path:
            raise UsageError("at least one of --port and --grpc_socket_path must be set. Got neither")
        if self.port and self.port == self.rest_api_port:
            raise UsageError(f"--port and --rest_api_port must not be the same. Got {self.port} for both")
        if not self.model_base_path and not self.model_config_file:
            raise UsageError(
                "--model_base_path or --model_config_file must be set. Got neither",
                hint=f"{PROGRAM} --model_name=NAME --model_base_path=/FOLDER/OF/VERSIONS --rest_api_port=8501",
            )
        if self.batching_parameters_file and not self.enable_batching:
            raise UsageError("--batching_parameters_file must come with --enable_batching. Got the former only")
        intra, inter = self.tensorflow_intra_op_parallelism, self.tensorflow_inter_op_parallelism
        if self.tensorflow_session_parallelism > 0 and intra > 0 and inter > 0:
            raise UsageError(
                "either --tensorflow_session_parallelism or --tensorflow_intra_op_parallelism and "
                "--tensorflow_inter_op_parallelism must be set. Got all three"
            )
        if self.rest_api_enable_ssl and not self.ssl_config_file:
            raise UsageError("--rest_api_enable_ssl must come with --ssl_config_file. Got the former only")


UNUSED: dict[str, tuple[type, str]] = {
    "num_unload_threads": (int, "each version is unloaded in a thread of its own"),
    "flush_filesystem_caches": (bool, "the operating system does as it sees fit"),
    "enable_per_model_batching_parameters": (bool, "the parameters are the same for all models"),
    "tensorflow_session_config_file": (str, "see the flags for parallelism"),
    "platform_config_file": (str, "there is one platform, tensorflow"),
    "per_process_gpu_memory_fraction": (float, "TensorFlow takes the memory that it needs"),
    "remove_unused_fields_from_bundle_metagraph": (bool, "only the signatures are kept"),
    "prefer_tflite_model": (bool, "TensorFlow Lite models are not served"),
    "num_tflite_pools": (int, "TensorFlow Lite models are not served"),
    "num_tflite_interpreters_per_pool": (int, "TensorFlow Lite models are not served"),
    "enable_signature_method_name_check": (bool, "a signature's method name is not checked"),
    "xla_cpu_compilation_enabled": (bool, "graphs are not compiled"),
    "xla_gpu_compilation_enabled": (bool, "graphs are not compiled"),
    "enable_profiler": (bool, "there is no profiler service"),
    "thread_pool_factory_config_file": (str, "threads are TensorFlow's own"),
    "mixed_precision": (str, "graphs run as they were exported"),
    "skip_initialize_tpu": (bool, "there is no TPU"),
}
"""Flags of TensorFlow Serving that mean nothing here: what they take, and why not."""

_USED = {field.name: field for field in dataclasses.fields(Flags) if field.metadata}
_NAMES = [*_USED, *UNUSED, "use_alts_credentials", "version", "help"]


def parse(arguments: Sequence[str]) -> Flags:
    """Reads the arguments of the command line.

    As TensorFlow Serving does, it takes `--name=value` only, and `--name` for a bool; of two the last counts. Unlike
    it, which starts nevertheless, an unknown argument is an error.

    Raises:
        UsageError: an argument is unknown or its value cannot be used.
        ShowHelp: `--help` is among them.
        ShowVersion: `--version` is.
    """
    values: dict[str, Any] = {}
    unused: list[str] = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in _NAMES:
            raise _unknown(argument, name)
        value = _value(name, _kind(name), text if equals else None)
        if name == "help" and value:
            raise ShowHelp
        if name in UNUSED:
            unused.append(name)
        values[name] = value
    if values.pop("version", False):
        raise ShowVersion
    if values.pop("use_alts_credentials", False):
        # Not among the unused: clients that count on encryption would get none.
        raise UsageError(
            "--use_alts_credentials must be false: ALTS is there on Google's own machines only",
            hint="give the server a certificate by --ssl_config_file",
        )
    return Flags(unused=tuple(dict.fromkeys(unused)), **{k: v for k, v in values.items() if k in _USED})


def usage() -> str:
    """Returns the text of `--help`."""
    lines = [f"usage: {PROGRAM} --FLAG=VALUE ...", "", "TensorFlow Serving's flags:"]
    lines += [_usage_line(name) for name, field in _USED.items() if not field.metadata["ours"]]
    lines += [f"  {'--version':52} Print the version, and no more.", "", "This server's own:"]
    lines += [_usage_line(name) for name, field in _USED.items() if field.metadata["ours"]]
    lines += ["", "Taken from TensorFlow Serving, and without effect:"]
    lines += [f"  {'--' + name:52} {reason}" for name, (_, reason) in UNUSED.items()]
    return "\n".join(lines) + "\n"


def _usage_line(name: str) -> str:
    default = _USED[name].default
    shown = "" if default is None else str(default).lower() if isinstance(default, bool) else default
    return f"  {f'--{name}={shown}':52} {_USED[name].metadata['help']}"


def _kind(name: str) -> type:
    if name in _USED:
        kind: type = _USED[name].metadata["kind"]
        return kind
    return UNUSED[name][0] if name in UNUSED else bool


def _value(name: str, kind: type, text: str | None) -> Any:
    if kind is bool and text in (None, "true", "false"):
        return text != "false"
    if kind is str and text is not None:
        return text
    if kind is int and text is not None and _INTEGER.fullmatch(text) and len(text) < 20 and int(text) in _INT64:
        return int(text)
    if kind is float and text is not None:
        try:
            return float(text)
        except ValueError:
            pass
    got = f"--{name} alone" if text is None else repr(text)
    raise UsageError(
        f"--{name} must be {_KINDS[kind]}, written --{name}={'true' if kind is bool else 'VALUE'}. Got {got} instead"
    )


def _unknown(argument: str, name: str) -> UsageError:
    shown = argument if len(argument) <= 100 else argument[:100] + "…"
    plain = name.lstrip("-").replace("-", "_")
    if plain in _NAMES:
        hint = f"write it as --{plain}=VALUE"
    else:
        close = difflib.get_close_matches(plain, _NAMES, 1)
        hint = f"did you mean --{close[0]}?" if close else f"{PROGRAM} --help lists the flags"
    return UsageError(
        f"arguments must be flags of the form --NAME=VALUE. Got the unknown argument {shown!r}", hint=hint
    )
