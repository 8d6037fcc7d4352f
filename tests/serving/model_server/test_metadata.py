"""GetModelMetadata."""

from __future__ import annotations

import pytest
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.metadata import get_model_metadata


def request_of(*fields: str, model: str = "toy") -> get_model_metadata_pb2.GetModelMetadataRequest:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = model
    return request


def test_all_signatures_as_the_model_has_them(toy_manager: Manager) -> None:
    request = request_of("signature_def", "signature_def")
    request.model_spec.signature_name = "regress"
    response = get_model_metadata(toy_manager, request)
    assert response.model_spec.name == "toy"
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == ""
    assert list(response.metadata) == ["signature_def"]
    any_ = response.metadata["signature_def"]
    assert any_.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert any_.Unpack(signatures)
    with toy_manager.acquire(ModelSpecQuery("toy")) as lease:
        assert dict(signatures.signature_def) == lease.servable.signature_defs
    assert signatures.signature_def["serving_default"].inputs["x"].name == "x:0"


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]),
            Code.INVALID_ARGUMENT,
            "Missing ModelSpec",
        ),
        (
            request_of(),
            Code.INVALID_ARGUMENT,
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (request_of("X"), Code.INVALID_ARGUMENT, "Metadata field X is not supported"),
        (request_of("signature_def", "X"), Code.INVALID_ARGUMENT, "Metadata field X is not supported"),
        # The fields are looked at before the model.
        (request_of("X", model="m"), Code.INVALID_ARGUMENT, "Metadata field X is not supported"),
        (request_of("signature_def", model="m"), Code.NOT_FOUND, "Servable not found for request: Latest(m)"),
        (request_of("signature_def", model=""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    ],
)
def test_requests_that_cannot_be_answered(
    toy_manager: Manager, request_: get_model_metadata_pb2.GetModelMetadataRequest, code: Code, message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        get_model_metadata(toy_manager, request_)
    assert (caught.value.code, caught.value.message) == (code, message)
