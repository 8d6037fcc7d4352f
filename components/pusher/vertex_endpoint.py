"""A version served by a Vertex AI endpoint: uploaded as a Model, deployed with all traffic, older ones undeployed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.vertex_ai import VertexPlace, message_of, vertex_client, wait_for
from data.mounts import as_uri, mount
from schema.base import sha256_json
from schema.errors import ReleaseError
from schema.release import VertexEndpointConfig

UPLOAD_SECONDS = 1800.0
DEPLOY_SECONDS = 5400.0
_CHARACTERS = 12
_LOG = logging.getLogger(__name__)


def deploy(folder: Path, digest: str, endpoint: Mapping[str, Any]) -> None:
    """Has an endpoint serve a version, with all traffic. Does nothing where it does so already.

    A deployment that fails leaves the traffic where it was. One that was killed is taken up by the next.

    Args:
        folder: the version's folder, in a mounted bucket.
        digest: the model digest.
        endpoint: the endpoint's config (`pusher.vertex_endpoint`).

    Raises:
        ReleaseError: the folder is in no bucket, or Vertex AI cannot be reached or refuses.
    """
    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth

    config = VertexEndpointConfig.model_validate(dict(endpoint))
    uri = as_uri(str(folder.absolute()), {"gs": mount(os.environ)})
    if uri is None:
        raise ReleaseError(
            f"pusher.push_destination must be below {mount(os.environ)}, where buckets are mounted, for "
            f"pusher.vertex_endpoint. Got {folder.parent} instead",
            hint="push to a folder of a bucket (/gcs/BUCKET/FOLDER), or leave out pusher.vertex_endpoint",
        )
    try:
        _Endpoint(config).serve(uri, digest)
    except (
        exceptions.GoogleAPICallError,
        exceptions.RetryError,
        requests.RequestException,
        auth.GoogleAuthError,
    ) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ReleaseError(
            f"the Vertex endpoint {config.endpoint} in {config.project} must serve {uri}. Got {said} instead",
            hint="unless the deployment goes on there, the version that was live still is; look at "
            "pusher.vertex_endpoint and at what the service account may do (aiplatform.user), and do it again",
        ) from None


class _Endpoint:
    def __init__(self, config: VertexEndpointConfig) -> None:
        self._config = config
        self._place = VertexPlace.of(config.project, config.region, config.api_endpoint)
        self._name = f"{self._place.parent}/endpoints/{config.endpoint}"
        self._endpoints = vertex_client("EndpointServiceClient", self._place)

    def serve(self, uri: str, digest: str) -> None:
        # Their names say what they are made of, so that what is there already can be told from anything else.
        model_id = f"conveyor-{digest[:_CHARACTERS]}-{sha256_json(self._config.serving_image)[:_CHARACTERS]}"
        name = f"{model_id}-{sha256_json(self._config.model_dump(mode='json'))[:_CHARACTERS]}"
        endpoint = self._endpoints.get_endpoint(name=self._name)
        served = [
            one.id
            for one in endpoint.deployed_models
            if one.display_name == name and endpoint.traffic_split.get(one.id) == 100
        ]
        if not served:
            body = deployed_model(self._config, self._model(model_id, uri), name)
            request = {
                "endpoint": self._name,
                "deployed_model": message_of("DeployedModel", body),
                # 0 stands for the one that is being deployed.
                "traffic_split": {"0": 100},
            }
            operation = self._endpoints.deploy_model(request=request)
            served = [wait_for(self._place, operation.operation.name, DEPLOY_SECONDS)["deployedModel"]["id"]]
            _LOG.info("the endpoint %s serves %s", self._name, uri)
        for old in endpoint.deployed_models:
            if old.id not in served[:1]:
                self._undeploy(old.id)

    def _model(self, name: str, uri: str) -> str:
        """Returns the Model of a version, uploaded if it is not there."""
        from google.api_core import exceptions

        models = vertex_client("ModelServiceClient", self._place)
        try:
            return str(models.get_model(name=f"{self._place.parent}/models/{name}").name)
        except exceptions.NotFound:
            pass
        model = {"displayName": name, "artifactUri": uri, "containerSpec": {"imageUri": self._config.serving_image}}
        request = {"parent": self._place.parent, "model": message_of("Model", model), "model_id": name}
        operation = models.upload_model(request=request)
        return str(wait_for(self._place, operation.operation.name, UPLOAD_SECONDS)["model"])

    def _undeploy(self, identity: str) -> None:
        from google.api_core import exceptions

        try:
            operation = self._endpoints.undeploy_model(
                endpoint=self._name, deployed_model_id=identity, traffic_split={}
            )
            wait_for(self._place, operation.operation.name, DEPLOY_SECONDS)
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            # It gets no requests any more, and the next push tries again: no reason to call the release off.
            _LOG.warning("the endpoint %s still has %s: %s", self._name, identity, error)


def deployed_model(config: VertexEndpointConfig, model: str, name: str) -> dict[str, Any]:
    """Returns the DeployedModel of a model, JSON-ready.

    Args:
        config: the endpoint's config.
        model: the Model's resource name.
        name: its display name.
    """
    return {
        "model": model,
        "displayName": name,
        "dedicatedResources": {
            "machineSpec": {"machineType": config.machine_type},
            "minReplicaCount": config.min_replica_count,
            "maxReplicaCount": config.max_replica_count,
        },
    }
