"""Which models are served, from where and in which versions: the `ModelServerConfig` of TensorFlow Serving."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any

from schema.errors import ConfigError
from serving.model_server.errors import Code, ServingError
from serving.model_server.text_protos import parse_message

_log = logging.getLogger(__name__)

TENSORFLOW = "tensorflow"


@dataclasses.dataclass(frozen=True)
class Latest:
    """The highest versions are served.

    Attributes:
        num_versions: how many; 0 counts as 1.
    """

    num_versions: int = 1


@dataclasses.dataclass(frozen=True)
class All:
    """All versions are served."""


@dataclasses.dataclass(frozen=True)
class Specific:
    """These versions are served.

    Attributes:
        versions: their numbers.
    """

    versions: tuple[int, ...]


Policy = Latest | All | Specific


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: what requests call it.
        base_path: absolute path of the folder whose integer sub-folders are its versions.
        platform: always `tensorflow`.
        policy: which of its versions are served.
        labels: version label to version.
    """

    name: str
    base_path: str
    platform: str = TENSORFLOW
    policy: Policy = Latest()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ServerModels:
    """All models of a server.

    Attributes:
        models: the models, no two of one name.
        unset: the config says nothing at all, not even that there are no models: a reload with it changes nothing.

    Raises:
        ServingError: INVALID_ARGUMENT; what TensorFlow Serving does not take either: a name twice, no absolute base
            path, another platform. Besides: no name, and a base path that is a URI.
    """

    models: tuple[ModelConfig, ...] = ()
    unset: bool = False

    def __post_init__(self) -> None:
        names: set[str] = set()
        for model in self.models:
            _check(model, names)
            names.add(model.name)

    def __getitem__(self, name: str) -> ModelConfig:
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(name)

    @classmethod
    def single(cls, name: str, base_path: str | os.PathLike[str]) -> ServerModels:
        """Returns the config of a server that serves the latest version of one model.

        Raises:
            ServingError: see the class.
        """
        return cls((ModelConfig(name, os.fspath(base_path)),))

    @classmethod
    def from_proto(cls, proto: Any) -> ServerModels:
        """Reads a `tensorflow.serving.ModelServerConfig`, as HandleReloadConfigRequest brings it.

        Raises:
            ServingError: see the class; FAILED_PRECONDITION for a `custom_model_config`.
        """
        kind = proto.WhichOneof("config")
        if kind == "custom_model_config":
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
                "another.",
            )
        return cls(tuple(_model(config) for config in proto.model_config_list.config), unset=kind is None)

    @classmethod
    def from_text(cls, text: str, file: str) -> ServerModels:
        """Reads a model config file.

        Args:
            text: a `ModelServerConfig` as a text protocol buffer.
            file: where it comes from, for the messages.

        Raises:
            ConfigError: with the file and the line.
        """
        from tensorflow_serving.config import model_server_config_pb2

        hint = "write it as `model_config_list { config { name: … base_path: … model_platform: 'tensorflow' } }`"
        proto = parse_message(text, file, model_server_config_pb2.ModelServerConfig(), hint)
        try:
            return cls.from_proto(proto)
        except ServingError as error:
            line = _line_of_error(text, proto)
            raise ConfigError(f"{file}:{line}: {error.message}", hint="correct this entry of the config") from None


def _model(proto: Any) -> ModelConfig:
    from tensorflow_serving.config import model_server_config_pb2

    platform = proto.model_platform
    if proto.model_type:
        if platform:
            raise _invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform"
                f", model name is {proto.name}"
            )
        if proto.model_type != model_server_config_pb2.TENSORFLOW:
            raise _invalid(f"ModelServerConfig::model_type choice {proto.model_type} not supported.")
        platform = TENSORFLOW
    if proto.HasField("logging_config"):
        _log.warning(
            "The logging_config of model %s is not used: requests are captured by the server's own log", proto.name
        )
    return ModelConfig(proto.name, proto.base_path, platform, _policy(proto), dict(proto.version_labels))


def _policy(proto: Any) -> Policy:
    policy = proto.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return All()
    if choice == "specific":
        return Specific(tuple(policy.specific.versions))
    return Latest(max(policy.latest.num_versions, 1))


def _check(model: ModelConfig, others: set[str]) -> None:
    if not model.name:
        raise _invalid(f"Expected every model to have a name; the one with base_path()={model.base_path} has none")
    if model.name in others:
        raise _invalid(f"Illegal to list model {model.name} multiple times in config list")
    if "://" in model.base_path:
        raise _invalid(
            f"Model {model.name} must have a base path on a file system of this machine; got base_path()="
            f"{model.base_path}. TensorFlow Serving itself reads URIs, the embedded server does not"
        )
    if not os.path.isabs(model.base_path):
        raise _invalid(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
        )
    if not model.platform:
        raise _invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            f"model name is {model.name}"
        )
    if model.platform != TENSORFLOW:
        raise _invalid(f"Model {model.name} requests unsupported platform {model.platform}")


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def _line_of_error(text: str, proto: Any) -> int:
    """Returns the line where the first entry begins that cannot be taken along with those before it; else 1."""
    from google.protobuf import text_format

    configs = proto.model_config_list.config
    lines, depth = [], 0
    tokens = text_format.Tokenizer(text.splitlines())
    while not tokens.AtEnd():
        if tokens.token in ("{", "<"):
            depth += 1
            if depth == 2:
                lines.append(tokens.ParseError("").GetLine())
        elif tokens.token in ("}", ">"):
            depth -= 1
        tokens.NextToken()
    for count, line in enumerate(lines[: len(configs)], start=1):
        try:
            ServerModels(tuple(_model(config) for config in configs[:count]))
        except ServingError:
            return line
    return 1
