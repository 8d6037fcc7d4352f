"""ModelService: in what state the versions of a model are, and what is to be served from now on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from serving.model_server.errors import Code, ServingError
from serving.model_server.model_spec import spec_of

if TYPE_CHECKING:
    from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

    from serving.model_server.manager import Manager

_LOG = logging.getLogger(__name__)


def get_model_status(
    manager: Manager, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """Answers a GetModelStatusRequest. A version label is not looked at, as in TensorFlow Serving.

    Raises:
        ServingError: INVALID_ARGUMENT (no model spec), NOT_FOUND (no such model or version).
    """
    from tensorflow_serving.apis import get_model_status_pb2

    spec = spec_of(request)
    version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in manager.statuses(spec.name, version):
        added = response.model_version_status.add(version=status.version, state=int(status.state))
        added.status.error_code = int(status.code)
        added.status.error_message = status.message
    return response


def handle_reload_config(
    manager: Manager,
    request: model_management_pb2.ReloadConfigRequest,
    metric_value: Callable[[str], int] | None = None,
) -> model_management_pb2.ReloadConfigResponse:
    """Answers a ReloadConfigRequest: what it holds replaces the whole config. Returns once the models are loaded.

    Args:
        manager: where the models are.
        request: the request.
        metric_value: returns a metric's value by its name in TensorFlow, 0 for an unknown one.

    Returns:
        An OK status, and by how much each metric that the request names has grown meanwhile.

    Raises:
        ServingError: INVALID_ARGUMENT (not a list of models, or a wrong one), FAILED_PRECONDITION (a label of a
            version that is not available), or why a model cannot be served.
    """
    from tensorflow_serving.apis import model_management_pb2

    from serving.model_server.model_config import ServerModels

    if request.config.WhichOneof("config") != "model_config_list":
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "ServerModelConfig type not supported by HandleReloadConfigRequest."
            " Only ModelConfigList is currently supported",
        )
    names = list(dict.fromkeys(request.metric_names))
    before = {name: metric_value(name) if metric_value else 0 for name in names}
    for index, config in enumerate(request.config.model_config_list.config):
        _LOG.info(
            "reload: config entry %d: name %s, path %s, platform %s",
            index,
            config.name,
            config.base_path,
            config.model_platform,
        )
    try:
        manager.reload(ServerModels.from_proto(request.config))
    except ServingError as e:
        _LOG.error("reload failed: %s", e.message)
        raise
    response = model_management_pb2.ReloadConfigResponse()
    # An OK status is an empty message, but it is there.
    response.status.SetInParent()
    for name in names:
        after = metric_value(name) if metric_value else 0
        response.metric.add(name=name, int64_value_increase=after - before[name])
    return response
