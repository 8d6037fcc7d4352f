"""Our classes of TensorFlow Serving's messages, held against those of the installed tensorflow-serving-api."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from serving import messages

EMPTY_HERE = {
    "tensorflow.serving.SessionRunLog",
    "tensorflow.TypeSpecProto",
    "tensorflow.ResourceHandleProto",
}
"""Passed through: their fields stay unknown fields."""

NESTED_ONLY = {"tensorflow.serving.FileSystemStoragePathSourceConfig"}
"""Only what is nested in it is used here."""

NEWER_THAN_INSTALLED = {
    "tensorflow.serving.PredictRequest.request_options",
    "tensorflow.serving.PredictRequest.RequestOptions.max_cache_length",
    "tensorflow.serving.PredictRequest.RequestOptions.return_all_stoptokens",
    "tensorflow.serving.PredictStreamedOptions.return_single_response",
    "tensorflow.serving.SamplingConfig.per_task_sampling_configs",
    "tensorflow.serving.LoggingConfig.custom_logging_config",
    "tensorflow.serving.LogMetadata.safe_aggregation_privacy_key",
}
"""In the public repository, not yet in every release."""


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    """The installed messages' and enums' descriptors by full name."""
    pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    from google.protobuf import descriptor_pool
    from tensorflow_serving.apis import (  # noqa: F401
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        prediction_log_pb2,
    )

    class Found(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            return descriptor_pool.Default().FindMessageTypeByName(name)

    return Found()


def own_messages() -> Iterator[Any]:
    """Every message of ours, nested ones too."""

    def nested(message: Any) -> Iterator[Any]:
        yield message
        for inner in message.nested_types:
            yield from nested(inner)

    for package in ("tensorflow", "tensorflow.serving"):
        for message in messages._pool.FindFileByName(f"conveyor/{package}.proto").message_types_by_name.values():
            yield from nested(message)


def shape(field: Any) -> tuple[Any, ...]:
    kind = field.message_type or field.enum_type
    oneof = field.containing_oneof
    return (
        field.name,
        field.number,
        field.type,
        field.is_repeated if hasattr(field, "is_repeated") else field.label,
        field.json_name,
        kind.full_name if kind else None,
        oneof.name if oneof else None,
    )


@pytest.mark.parametrize("message", list(own_messages()), ids=lambda m: str(m.full_name))
def test_fields_are_those_of_the_installed_messages(message: Any, installed: dict[str, Any]) -> None:
    try:
        theirs = installed[message.full_name]
    except KeyError:
        assert message.full_name in {
            "tensorflow.serving.PredictRequest.RequestOptions",
            "tensorflow.serving.PerTaskSamplingConfig",
        }
        return
    own_fields = {field.name: shape(field) for field in message.fields}
    their_fields = {field.name: shape(field) for field in theirs.fields}
    for name in set(own_fields) - set(their_fields):
        assert f"{message.full_name}.{name}" in NEWER_THAN_INSTALLED
        del own_fields[name]
    if message.full_name in EMPTY_HERE | NESTED_ONLY:
        assert not own_fields
    else:
        assert own_fields == their_fields


@pytest.mark.parametrize("name", ["tensorflow.DataType", "tensorflow.error.Code", "tensorflow.serving.ModelType"])
def test_values_of_enums(name: str, installed: dict[str, Any]) -> None:
    from google.protobuf import descriptor_pool

    own = {value.name: value.number for value in messages._pool.FindEnumTypeByName(name).values}
    theirs = {value.name: value.number for value in descriptor_pool.Default().FindEnumTypeByName(name).values}
    assert own.items() <= theirs.items()
    assert all(left_out.endswith("_REF") or number > 25 for left_out, number in theirs.items() - own.items())


def test_values_of_nested_enums(installed: dict[str, Any]) -> None:
    for message in own_messages():
        for enum in message.enum_types:
            try:
                theirs = installed[message.full_name].enum_types_by_name[enum.name].values_by_name
            except KeyError:
                continue
            assert {n: v.number for n, v in enum.values_by_name.items() if n != "CANCEL"} == {
                n: v.number for n, v in theirs.items() if n != "CANCEL"
            }


def test_health_messages_are_those_of_grpc() -> None:
    health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
    for own, theirs in (
        (messages.HealthCheckRequest, health_pb2.HealthCheckRequest),
        (messages.HealthCheckResponse, health_pb2.HealthCheckResponse),
    ):
        assert [shape(f) for f in own.DESCRIPTOR.fields] == [shape(f) for f in theirs.DESCRIPTOR.fields]
    own_values = messages.HealthCheckResponse.ServingStatus.items()
    assert own_values == health_pb2.HealthCheckResponse.ServingStatus.items()


def test_the_bytes_are_the_same(installed: dict[str, Any]) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    log = messages.PredictionLog()
    log.log_metadata.saved_model_tags.append("serve")
    log.log_metadata.sampling_config.sampling_rate = 0.5
    request = log.predict_log.request
    request.model_spec.name = "m"
    request.model_spec.version.value = 0
    request.client_id = b""
    tensor = request.inputs["x"]
    tensor.dtype = messages.DATA_TYPES["DT_FLOAT"]
    tensor.tensor_shape.dim.add(size=2)
    tensor.float_val.extend([1.0, 2.0])
    tensor.int64_val.extend([-1, 2**62])
    tensor.bool_val.extend([True, False])
    tensor.string_val.extend([b"", b"\xff"])
    theirs = prediction_log_pb2.PredictionLog.FromString(log.SerializeToString(deterministic=True))
    assert theirs.predict_log.request.inputs["x"].float_val == [1.0, 2.0]
    assert theirs.predict_log.request.HasField("client_id")
    assert theirs.SerializeToString(deterministic=True) == log.SerializeToString(deterministic=True)
    assert messages.PredictionLog.FromString(theirs.SerializeToString()) == log


def test_what_is_not_known_here_is_passed_through(installed: dict[str, Any]) -> None:
    from tensorflow_serving.apis import prediction_log_pb2

    theirs = prediction_log_pb2.PredictionLog()
    theirs.session_run_log.request.model_spec.name = "m"
    own = messages.PredictionLog.FromString(theirs.SerializeToString())
    assert own.WhichOneof("log_type") == "session_run_log"
    assert prediction_log_pb2.PredictionLog.FromString(own.SerializeToString()) == theirs


def test_metadata_of_a_server_unpacks() -> None:
    signatures = messages.SignatureDefMap()
    signatures.signature_def["serving_raw"].inputs["x"].dtype = messages.DATA_TYPES["DT_INT64"]
    answer = messages.GetModelMetadataResponse()
    answer.metadata["signature_def"].Pack(signatures)
    assert answer.metadata["signature_def"].type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    read = messages.SignatureDefMap()
    assert (
        messages.GetModelMetadataResponse.FromString(answer.SerializeToString()).metadata["signature_def"].Unpack(read)
    )
    assert read == signatures


def test_methods_are_those_of_the_services(installed: dict[str, Any]) -> None:
    try:
        from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2
    except AttributeError as error:
        pytest.skip(f"tensorflow-serving-api 2.19's services do not import under protobuf 6: {error}")
    ours = {v.path: v for v in vars(messages).values() if isinstance(v, messages.Method) and "health" not in v.path}
    theirs = {
        f"/{service.full_name}/{method.name}": (method.input_type.full_name, method.output_type.full_name)
        for file in (prediction_service_pb2, model_service_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if "Streamed" not in method.name
    }
    assert {p: (m.request.DESCRIPTOR.full_name, m.response.DESCRIPTOR.full_name) for p, m in ours.items()} == theirs


@pytest.mark.parametrize("first", ["messages", "tensorflow_serving.apis"])
def test_both_live_in_one_process(first: str) -> None:
    pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    imports = ["from serving import messages", "from tensorflow_serving.apis import prediction_log_pb2, predict_pb2"]
    if first != "messages":
        imports.reverse()
    code = "\n".join([*imports, "predict_pb2.PredictRequest.FromString(messages.PredictRequest().SerializeToString())"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_tensorflow_is_imported() -> None:
    code = "import serving.messages, sys; print([m for m in sys.modules if m.startswith(('tensorflow', 'numpy'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "text",
    ["package a; service B {}", "package a; message B { int32 c 1; }", "package a; message B { int32 c = 1 }"],
)
def test_other_language_is_refused(text: str) -> None:
    from serving.message_language import parse

    with pytest.raises(ValueError, match="Got"):
        parse(text)
