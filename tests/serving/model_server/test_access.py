"""Who may call, and how much: tokens, TLS, mutual TLS and limits, over real connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from serving.model_server.access import Access, Limits
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Exchange, NoHooks
from serving.model_server.manager import Manager
from serving.model_server.metrics import Metrics
from serving.model_server.tls import Tls
from serving.model_server.tokens import Role, TokenFile
from tests.serving.model_server.certificates import Authority
from tests.serving.model_server.grpc_asking import Asking, example_request, predict_request
from tests.serving.model_server.toy_models import example

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


# Limits.


def test_messages_that_are_too_large(toy_manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    with Asking(toy_manager, access=Access(limits=Limits(message_bytes=10_000))) as asking:
        code, message = asking.error("Predict", predict_request(x=np.zeros(3_000, np.float32)))
        assert code == "RESOURCE_EXHAUSTED"
        assert "larger than max" in message
        code, message = asking.error("Predict", predict_request("toy", "all_types"))
        assert code == "INVALID_ARGUMENT"
        assert len(asking("Predict", predict_request(x=np.zeros(2_000, np.float32))).outputs["y"].float_val) == 2_000
        assert asking.server._access.under_way == 0
    assert "Traceback" not in caplog.text


def test_answers_that_are_too_large(toy_manager: Manager) -> None:
    with Asking(toy_manager, access=Access(limits=Limits(message_bytes=5_000))) as asking:
        request = predict_request("toy", "matrix", m=np.zeros((600, 2), np.float32))
        code, message = asking.error("Predict", request)
        assert code == "RESOURCE_EXHAUSTED"
        assert list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]


def test_headers_that_are_too_large(toy_manager: Manager) -> None:
    with Asking(toy_manager, access=Access(limits=Limits(header_bytes=2000))) as asking:
        assert asking.error("Predict", predict_request(x=X), [("a", "x" * 4000)])[0] == "RESOURCE_EXHAUSTED"
        assert asking("Predict", predict_request(x=X), [("a", "x" * 1000)]).model_spec.name == "toy"


def test_batches_that_are_too_large(toy_manager: Manager) -> None:
    message = "A request may have 3 rows at most, not 4. Send it in parts"
    with Asking(toy_manager, access=Access(limits=Limits(batch_rows=3))) as asking:
        for _ in range(4):
            assert len(asking("Predict", predict_request(x=np.zeros(3, np.float32))).outputs["y"].float_val) == 3
            assert asking.error("Predict", predict_request(x=np.zeros(4, np.float32))) == ("INVALID_ARGUMENT", message)
        examples = example_request(classification_pb2.ClassificationRequest, "classify", [example(1.0)] * 4)
        assert asking.error("Classify", examples) == ("INVALID_ARGUMENT", message)


def test_too_many_requests_at_once(toy_manager: Manager) -> None:
    access = Access(limits=Limits(concurrent_requests=2))
    slow = predict_request("toy", "slow", loops=np.int64(300_000))
    with Asking(toy_manager, access=access) as asking, ThreadPoolExecutor(2) as executor:
        running = [executor.submit(asking, "Predict", slow) for _ in range(2)]
        deadline = time.monotonic() + 60
        while access.under_way < 2:
            assert time.monotonic() < deadline
        assert asking.error("Predict", predict_request(x=X)) == (
            "RESOURCE_EXHAUSTED",
            "More than 2 requests are under way. Try again later",
        )
        for future in running:
            assert list(future.result().outputs["n"].int64_val) == [300_000]
        assert asking("Predict", predict_request(x=X)).model_spec.name == "toy"
    assert access.under_way == 0


def test_requests_that_take_too_long(toy_manager: Manager) -> None:
    access = Access(limits=Limits(request_seconds=0.3))
    with Asking(toy_manager, access=access) as asking:
        assert asking.error("Predict", predict_request("toy", "slow", loops=np.int64(200_000))) == (
            "DEADLINE_EXCEEDED",
            "The request took more than 0.3 seconds",
        )
        # TensorFlow goes on, and until it is done the request counts.
        deadline = time.monotonic() + 60
        while access.under_way:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_is_refused_is_counted_and_what_is_too_slow_is_noted_as_that(
    toy_manager: Manager, tokens: TokenFile
) -> None:
    class Notes(NoHooks):
        def __init__(self) -> None:
            self.codes: list[Code] = []

        def done(self, exchange: Exchange) -> None:
            self.codes.append(exchange.code)

    metrics, notes = Metrics(), Notes()
    access = Access(tokens=tokens, limits=Limits(request_seconds=0.3))
    with Asking(toy_manager, access=access, metrics=metrics, hooks=notes) as asking:
        asking.error("Predict", predict_request(x=X))
        asking.error("Predict", predict_request("toy", "slow", loops=np.int64(200_000)), READ)
        deadline = time.monotonic() + 60
        while access.under_way:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    counts = [
        line for line in metrics.page().decode().splitlines() if line.startswith(":tensorflow:serving:request_count")
    ]
    assert counts == [
        ':tensorflow:serving:request_count{model_name="",status="UNAUTHENTICATED"} 1',
        ':tensorflow:serving:request_count{model_name="toy",status="DEADLINE_EXCEEDED"} 1',
    ]
    assert notes.codes == [Code.DEADLINE_EXCEEDED]


def test_a_request_whose_body_does_not_come(toy_manager: Manager) -> None:
    access = Access(limits=Limits(request_seconds=0.3))
    with Asking(toy_manager, access=access) as asking:
        hold = threading.Event()

        def nothing() -> Iterator[bytes]:
            hold.wait(60)
            yield from ()

        call = asking.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        try:
            with pytest.raises(grpc.RpcError) as caught:
                call(nothing(), timeout=60)
        finally:
            hold.set()
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.details() == "The request took more than 0.3 seconds"
        assert access.under_way == 0


def test_a_request_without_a_body(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking:
        call = asking.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(iter(()), timeout=60)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "No message was sent"


def test_the_body_of_a_refused_request_is_not_waited_for(toy_manager: Manager, tokens: TokenFile) -> None:
    with Asking(toy_manager, access=Access(tokens=tokens)) as asking:
        hold = threading.Event()

        def nothing() -> Iterator[bytes]:
            hold.wait(60)
            yield from ()

        try:
            with pytest.raises(grpc.RpcError) as caught:
                asking.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")(nothing(), timeout=60)
        finally:
            hold.set()
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_counting_in_and_out() -> None:
    access = Access(limits=Limits(concurrent_requests=1))
    access.enter()
    with pytest.raises(ServingError) as caught:
        access.enter()
    assert caught.value.code == Code.RESOURCE_EXHAUSTED
    access.leave()
    access.enter()
    assert access.under_way == 1


def test_without_limits_there_are_none() -> None:
    access = Access()
    access.check_rows(10**12)
    for _ in range(1000):
        access.enter()
    assert access.limits.message_bytes == 2**31 - 1
