"""GetModelStatus and HandleReloadConfigRequest."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.manager import Manager
from serving.model_server.metrics import REQUEST_COUNT, Metrics
from serving.model_server.model_service import get_model_status, handle_reload_config
from tests.serving.model_server.asking import offset
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.toy_models import ToyModels


def status_request(
    model: str = "toy", version: int | None = None, label: str | None = None
) -> get_model_status_pb2.GetModelStatusRequest:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    return request


def reload_request(text: str, *metrics: str) -> model_management_pb2.ReloadConfigRequest:
    request = model_management_pb2.ReloadConfigRequest(metric_names=metrics)
    text_format.Parse(text, request.config)
    return request


def reload_error(manager: Manager, request: model_management_pb2.ReloadConfigRequest) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        handle_reload_config(manager, request)
    return caught.value.code, caught.value.message


def test_an_available_version(toy_manager: Manager) -> None:
    response = get_model_status(toy_manager, status_request())
    assert (
        text_format.MessageToString(response)
        == "model_version_status {\n  version: 1\n  state: AVAILABLE\n  status {\n  }\n}\n"
    )


def test_newest_first_failed_ones_too_and_labels_do_not_matter(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1)
    toy_models.write_broken(tmp_path, 3, "empty")
    manager = make_manager(tmp_path)
    for request in (status_request("m"), status_request("m", label="no such")):
        statuses = get_model_status(manager, request).model_version_status
        assert [s.version for s in statuses] == sorted((s.version for s in statuses), reverse=True)
        failed = statuses[0]
        assert (failed.version, failed.state, failed.status.error_code) == (3, 50, int(Code.NOT_FOUND))
        assert "Could not find SavedModel" in failed.status.error_message
    only = get_model_status(manager, status_request("m", version=3)).model_version_status
    assert [s.version for s in only] == [3]


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (get_model_status_pb2.GetModelStatusRequest(), Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (status_request("m"), Code.NOT_FOUND, "Could not find any versions of model m"),
        (status_request(""), Code.NOT_FOUND, "Could not find any versions of model "),
        (status_request("toy", 5), Code.NOT_FOUND, "Could not find version 5 of model toy"),
    ],
)
def test_no_status(
    toy_manager: Manager, request_: get_model_status_pb2.GetModelStatusRequest, code: Code, message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        get_model_status(toy_manager, request_)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_a_reload_replaces_what_is_served(toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "a", 1, offset=1.0)
    toy_models.write(tmp_path / "b", 1, offset=2.0)
    manager = make_manager(tmp_path / "a")
    response = handle_reload_config(
        manager,
        reload_request(
            f'model_config_list {{ config {{ name: "n" base_path: "{tmp_path / "b"}" model_platform: "tensorflow" }} }}'
        ),
    )
    assert response.HasField("status")
    assert response.status.error_code == 0
    assert response.status.error_message == ""
    assert offset(manager, name="n") == 2.0
    with pytest.raises(ServingError, match="Servable not found"):
        offset(manager, name="m")


@pytest.mark.parametrize("text", ["", 'custom_model_config { type_url: "a" }'])
def test_only_lists_of_models_are_taken(toy_manager: Manager, text: str) -> None:
    assert reload_error(toy_manager, reload_request(text)) == (
        Code.INVALID_ARGUMENT,
        "ServerModelConfig type not supported by HandleReloadConfigRequest."
        " Only ModelConfigList is currently supported",
    )


def test_a_label_of_a_version_that_is_not_there(
    toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1)
    manager = make_manager(tmp_path)
    code, message = reload_error(
        manager,
        reload_request(
            f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path}" model_platform: "tensorflow" '
            'version_labels { key: "canary" value: 9 } } }'
        ),
    )
    assert code == Code.FAILED_PRECONDITION
    assert "version 9 of model m" in message
    assert offset(manager) == 2.0


def test_a_wrong_path_changes_nothing(toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1)
    manager = make_manager(tmp_path)
    request = reload_request(
        'model_config_list { config { name: "n" base_path: "not/absolute" model_platform: "tensorflow" } }'
    )
    assert reload_error(manager, request)[0] == Code.INVALID_ARGUMENT
    assert offset(manager) == 2.0


def test_by_how_much_metrics_have_grown(toy_models: ToyModels, make_manager: MakeManager, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1)
    manager = make_manager(tmp_path)
    metrics = Metrics()
    metrics.request("m", "Predict", "GRPC", "OK", 0.1)
    text = f'model_config_list {{ config {{ name: "m" base_path: "{tmp_path}" model_platform: "tensorflow" }} }}'
    counts = iter([3, 5])
    response = handle_reload_config(manager, reload_request(text, "a", "a"), lambda _: next(counts))
    assert [(m.name, m.int64_value_increase) for m in response.metric] == [("a", 2)]
    response = handle_reload_config(manager, reload_request(text, REQUEST_COUNT, "unknown"), metrics.value)
    assert [(m.name, m.int64_value_increase) for m in response.metric] == [(REQUEST_COUNT, 0), ("unknown", 0)]
    assert [m.WhichOneof("value_increase") for m in response.metric] == ["int64_value_increase"] * 2
