"""GetModelMetadata: what signatures a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.model_server.errors import Code, ServingError
from serving.model_server.model_spec import query_of, spec_of

if TYPE_CHECKING:
    from tensorflow_serving.apis import get_model_metadata_pb2

    from serving.model_server.manager import Manager

SIGNATURE_DEF = "signature_def"


def get_model_metadata(
    manager: Manager, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Answers a GetModelMetadataRequest.

    Raises:
        ServingError: INVALID_ARGUMENT (no field is asked for, or one that there is not), NOT_FOUND.
    """
    from tensorflow_serving.apis import get_model_metadata_pb2

    spec = spec_of(request)
    if not request.metadata_field:
        raise ServingError(Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise ServingError(Code.INVALID_ARGUMENT, f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with manager.acquire(query_of(spec)) as lease:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in lease.servable.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.model_spec.name = lease.servable.name
        response.model_spec.version.value = lease.servable.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response
