"""Configs that are written as text protocol buffers, as TensorFlow Serving reads them from files."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from schema.errors import ConfigError, UsageError
from serving.model_server.batching_parameters import SERVER_THREADS, BatchingParameters
from serving.model_server.errors import ServingError
from serving.model_server.tls import Tls

# tensorflow-serving-api has no classes for these.
_DEFINITIONS = """
package tensorflow.serving;
import wrappers;
message PrometheusConfig { bool enable = 1; string path = 2; }
message MonitoringConfig { PrometheusConfig prometheus_config = 1; }
message SSLConfig { string server_key = 1; string server_cert = 2; string custom_ca = 3; bool client_verify = 4; }
message BatchingParameters {
  google.protobuf.Int64Value max_batch_size = 1;
  google.protobuf.Int64Value batch_timeout_micros = 2;
  google.protobuf.Int64Value max_enqueued_batches = 3;
  google.protobuf.Int64Value num_batch_threads = 4;
  google.protobuf.StringValue thread_pool_name = 5;
  google.protobuf.BoolValue enable_large_batch_splitting = 8;
  google.protobuf.Int64Value max_execution_batch_size = 9;
  repeated int64 allowed_batch_sizes = 6;
  bool pad_variable_length_inputs = 7;
}
"""


def read_text(file: str | Path, flag: str) -> str:
    """Returns what a config file holds.

    Args:
        file: its path.
        flag: the flag that names it, for the message.

    Raises:
        ConfigError: it cannot be read, or is no UTF-8.
    """
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--{flag} must be a file that can be read. Got {file} instead ({error.strerror or error})",
            hint="correct the path, or make the file readable for the server's user",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: must be UTF-8. Got the byte 0x{error.object[error.start]:02x}") from error


def parse_message(text: str, file: str | Path, message: Any, hint: str = "", *, secret: bool = False) -> Any:
    """Reads a text protocol buffer into a message, which is returned.

    Args:
        text: the text.
        file: where it comes from, for the message.
        message: an empty message.
        hint: how it is to be written.
        secret: the message must not show what is written there.

    Raises:
        ConfigError: with the file and the line.
    """
    from google.protobuf import text_format

    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        reason = f"column {column}" if secret else str(error).removeprefix(f"{line}:{column} : ")
        raise ConfigError(
            f"{file}:{line}: Error parsing text-format {message.DESCRIPTOR.full_name}: {reason}", hint=hint
        ) from None


def read_metrics_path(file: str | Path, default: str) -> str:
    """Returns the path of the metrics page that a monitoring config asks for, or an empty text when it wants none.

    Raises:
        ConfigError: with the file and, where it has one, the line.
    """
    hint = f'write it as `prometheus_config {{ enable: true path: "{default}" }}`'
    config = _read(file, "monitoring_config_file", "MonitoringConfig", hint).prometheus_config
    path = str(config.path) or default
    if not path.startswith("/"):
        raise ConfigError(f"{file}: prometheus_config.path must begin with a slash. Got {path!r} instead", hint=hint)
    return path if config.enable else ""


def read_tls(file: str | Path) -> Tls:
    """Returns the certificates in an SSL config.

    Raises:
        ConfigError: with the file and, where it has one, the line; the certificates themselves cannot be used.
    """
    hint = "write it as `server_key: '-----BEGIN…' server_cert: '-----BEGIN…'`, each line of a PEM ending in \\n"
    config = _read(file, "ssl_config_file", "SSLConfig", hint)
    key, certificate, authority = (text.encode() for text in (config.server_key, config.server_cert, config.custom_ca))
    tls = Tls(key, certificate, authority, bool(config.client_verify))
    try:
        tls.check()
    except UsageError as error:
        raise ConfigError(f"{file}: {error.args[0]}", hint=error.hint or hint) from error
    return tls


def read_batching(file: str | Path | None) -> BatchingParameters:
    """Returns what a file of batching parameters says, or what holds without one.

    Raises:
        ConfigError: with the file and, where it has one, the line.
    """
    if not file:
        return BatchingParameters(thread_pool_name=SERVER_THREADS)
    hint = "write it as `max_batch_size { value: 128 } batch_timeout_micros { value: 1000 }`"
    message = _read(file, "batching_parameters_file", "BatchingParameters", hint)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(BatchingParameters):
        value = getattr(message, field.name)
        if field.name == "allowed_batch_sizes":
            given[field.name] = tuple(value)
        elif field.name == "pad_variable_length_inputs":
            given[field.name] = value
        elif message.HasField(field.name):
            given[field.name] = value.value
    try:
        return BatchingParameters(**given)
    except ServingError as error:
        raise ConfigError(f"{file}: {error.message}", hint="correct the parameter") from error


def _read(file: str | Path, flag: str, name: str, hint: str) -> Any:
    message = _classes()(f"tensorflow.serving.{name}")()
    return parse_message(read_text(file, flag), file, message, hint, secret=name == "SSLConfig")


@functools.cache
def _classes() -> Any:
    from google.protobuf import descriptor_pool, message_factory

    from serving.message_language import parse, well_known_files

    # A pool of its own: what TensorFlow Serving itself registers must not clash with it.
    pool = descriptor_pool.DescriptorPool()
    for known in well_known_files():
        pool.AddSerializedFile(known)
    pool.AddSerializedFile(parse(_DEFINITIONS).SerializeToString())
    if hasattr(message_factory, "GetMessageClass"):
        return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    factory = message_factory.MessageFactory(pool)  # protobuf 3.20, TFX 1.16's
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName(name))
