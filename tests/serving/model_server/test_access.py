"""Who may call: tokens, TLS and mutual TLS, over real connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
)

from schema.errors import UsageError
from serving.model_server.access import Access
from serving.model_server.manager import Manager
from serving.model_server.tls import Tls
from serving.model_server.tokens import Role, TokenFile
from tests.serving.model_server.certificates import Authority
from tests.serving.model_server.grpc_asking import Asking, predict_request

X = np.float32([1.0, 2.0])
READ = [("authorization", "Bearer reader")]
ADMIN = [("authorization", "Bearer chief")]
NO_TOKEN = "No token was sent. Expected the header: authorization: Bearer TOKEN"
WRONG_TOKEN = "The token is not one of this server's. Expected the header: authorization: Bearer TOKEN"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.touch(0o600)
    file.write_text("read reader\nadmin chief\n")
    return TokenFile(file)


@pytest.fixture(scope="module")
def guarded(toy_manager: Manager, tokens: TokenFile) -> Iterator[Asking]:
    with Asking(toy_manager, access=Access(tokens=tokens), health=True) as found:
        yield found


def status_request() -> get_model_status_pb2.GetModelStatusRequest:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "toy"
    return request


def metadata_request() -> get_model_metadata_pb2.GetModelMetadataRequest:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "toy"
    return request


# Tokens.


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Predict", predict_request(x=X)),
        ("Classify", classification_pb2.ClassificationRequest()),
        ("GetModelStatus", status_request()),
        ("GetModelMetadata", metadata_request()),
        ("HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest()),
    ],
)
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([], NO_TOKEN),
        ([("authorization", "")], NO_TOKEN),
        ([("authorization", "Bearer nobody")], WRONG_TOKEN),
        ([("authorization", "Basic reader")], WRONG_TOKEN),
        ([("authorization", "reader")], WRONG_TOKEN),
        ([("authorization", "Bearer readerX")], WRONG_TOKEN),
        ([("authorization", "Bearer ")], WRONG_TOKEN),
    ],
)
def test_no_method_answers_without_a_token(
    guarded: Asking, method: str, request_: object, metadata: list[tuple[str, str]], message: str
) -> None:
    assert guarded.error(method, request_, metadata) == ("UNAUTHENTICATED", message)


@pytest.mark.parametrize("metadata", [READ, ADMIN, [("authorization", "bearer  reader ")]])
def test_either_role_may_ask(guarded: Asking, metadata: list[tuple[str, str]]) -> None:
    for _ in range(3):
        assert list(guarded("Predict", predict_request(x=X), metadata).outputs["y"].float_val) == [2.5, 3.0]
    assert guarded("GetModelStatus", status_request(), metadata).model_version_status[0].version == 1
    assert guarded("GetModelMetadata", metadata_request(), metadata).model_spec.name == "toy"


def test_a_reload_needs_an_admin(guarded: Asking) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    assert guarded.error("HandleReloadConfigRequest", request, READ) == (
        "PERMISSION_DENIED",
        "This call needs a token of role admin; the one sent has role read",
    )
    # An admin gets as far as the request itself.
    code, message = guarded.error("HandleReloadConfigRequest", request, ADMIN)
    assert (code, message.startswith("ServerModelConfig type not supported")) == ("INVALID_ARGUMENT", True)


def test_health_needs_no_token(guarded: Asking) -> None:
    assert guarded("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"


def test_no_message_shows_a_token(guarded: Asking, caplog: pytest.LogCaptureFixture) -> None:
    for metadata in ([("authorization", "Bearer hunter2")], [("authorization", "hunter2")]):
        assert "hunter2" not in guarded.error("Predict", predict_request(x=X), metadata)[1]
    message = guarded.error("HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest(), READ)[1]
    assert "reader" not in message
    assert "hunter2" not in caplog.text and "reader" not in caplog.text


def test_without_a_file_of_tokens_everybody_may_do_everything() -> None:
    access = Access()
    for header in (None, "", "Bearer x"):
        access.authorize(header, Role.ADMIN)


# TLS.


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def tls_of(authority: Authority, **options: object) -> Access:
    key, certificate = authority.issue()
    return Access(tls=Tls(key, certificate, **options))  # type: ignore[arg-type]


def refused(asking: Asking, channel: grpc.Channel) -> bool:
    try:
        channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(
            predict_request(x=X).SerializeToString(), timeout=20
        )
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.UNAVAILABLE, e
        return True
    finally:
        channel.close()
    return False


def test_tls(toy_manager: Manager, authority: Authority) -> None:
    trusted = grpc.ssl_channel_credentials(authority.pem)
    with Asking(toy_manager, access=tls_of(authority), credentials=trusted) as asking:
        assert list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]
        assert refused(asking, asking.connect())
        assert refused(asking, asking.connect(grpc.ssl_channel_credentials(Authority("another").pem)))
        # A client that has a certificate may show it.
        assert not refused(asking, asking.connect(grpc.ssl_channel_credentials(authority.pem, *authority.issue())))


def test_mutual_tls(toy_manager: Manager, authority: Authority) -> None:
    clients = Authority("clients")
    known = grpc.ssl_channel_credentials(authority.pem, *clients.issue("client"))
    access = tls_of(authority, custom_ca=clients.pem, client_verify=True)
    with Asking(toy_manager, access=access, credentials=known) as asking:
        assert list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]
        assert refused(asking, asking.connect(grpc.ssl_channel_credentials(authority.pem)))
        stranger = grpc.ssl_channel_credentials(authority.pem, *Authority("another").issue("client"))
        assert refused(asking, asking.connect(stranger))


def test_tokens_over_tls(toy_manager: Manager, authority: Authority, tokens: TokenFile) -> None:
    key, certificate = authority.issue()
    access = Access(tokens=tokens, tls=Tls(key, certificate))
    trusted = grpc.ssl_channel_credentials(authority.pem)
    with Asking(toy_manager, access=access, credentials=trusted) as asking:
        assert asking.error("Predict", predict_request(x=X)) == ("UNAUTHENTICATED", NO_TOKEN)
        assert list(asking("Predict", predict_request(x=X), READ).outputs["y"].float_val) == [2.5, 3.0]


@pytest.mark.parametrize("part", ["server_key", "server_cert", "custom_ca", "pair", "password"])
def test_wrong_certificates_are_told_at_the_start(toy_manager: Manager, authority: Authority, part: str) -> None:
    key, certificate = authority.issue()
    parts = {"server_key": key, "server_cert": certificate, "custom_ca": authority.pem}
    if part == "pair":
        parts["server_key"] = authority.issue()[0]
    elif part == "password":
        from cryptography.hazmat.primitives import serialization

        parts["server_key"] = serialization.load_pem_private_key(key, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    else:
        parts[part] = b"-----BEGIN NONSENSE-----\nsecret\n-----END NONSENSE-----\n"
    with pytest.raises(UsageError) as caught, Asking(toy_manager, access=Access(tls=Tls(**parts))):
        pass
    assert ("custom_ca" if part == "custom_ca" else "server_key and server_cert") in str(caught.value)
    assert "secret" not in str(caught.value)


def test_clients_cannot_be_verified_without_their_authority(authority: Authority) -> None:
    with pytest.raises(UsageError, match="custom_ca of the SSL config must be there"):
        Tls(*authority.issue(), client_verify=True).check()


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Tls(b"secret", b"secret", b"secret"))


def test_no_key_is_left_on_the_disk(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Tls(*authority.issue()).context()
    assert list(tmp_path.iterdir()) == []
