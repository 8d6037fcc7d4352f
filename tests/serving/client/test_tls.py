"""TLS and mutual TLS, over both APIs."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from pathlib import Path
from typing import Any

import pytest

from serving.client import CallFailed, Client, Code, Retry, Tls
from serving.client.target import Api
from tests.serving.client.fake_model import FakeModel
from tests.serving.client.fake_server import Certificates, grpc_server, http_server

x509 = pytest.importorskip("cryptography.x509")


def certificates(folder: Path, name: str = "localhost") -> Certificates:
    """Writes an authority, and a certificate of it for a name."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir()
    now = datetime.datetime.now(datetime.timezone.utc)

    def make(subject: str, issuer: str, key: Any, signer: Any, ca: bool) -> bytes:
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))] if name == "localhost" else []
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names or [x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )
        return bytes(built.public_bytes(serialization.Encoding.PEM))

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    files = Certificates(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    files.ca.write_bytes(make("ca", "ca", ca_key, ca_key, True))
    files.certificate.write_bytes(make(name, "ca", key, ca_key, False))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def ask(api: Api, port: int, tls: Tls | None) -> int:
    with Client("people", f"127.0.0.1:{port}", api=api, tls=tls, retry=Retry(attempts=1)) as client:
        return len(client.predict({"fare": 1.0}))


@pytest.fixture
def serve(api: Api) -> Any:
    """Starts a fake server with certificates."""
    with contextlib.ExitStack() as stack:

        def start(files: Certificates, *, mutual: bool = False) -> int:
            server = grpc_server if api == "gRPC" else http_server
            return stack.enter_context(contextlib.contextmanager(server)(FakeModel(), files, mutual=mutual))

        yield start


def test_tls(serve: Any, api: Api, tmp_path: Path) -> None:
    files = certificates(tmp_path / "ours")
    port = serve(files)
    assert ask(api, port, Tls(ca=files.ca)) == 1
    other = certificates(tmp_path / "other")
    for tls in (Tls(ca=other.ca), Tls(), None):
        with pytest.raises(CallFailed) as raised:
            ask(api, port, tls)
        assert raised.value.code == Code.UNAVAILABLE


def test_a_certificate_of_another_name(serve: Any, api: Api, tmp_path: Path) -> None:
    files = certificates(tmp_path / "ours", name="serving.example")
    port = serve(files)
    with pytest.raises(CallFailed):
        ask(api, port, Tls(ca=files.ca))
    assert ask(api, port, Tls(ca=files.ca, server_name="serving.example")) == 1


def test_mutual_tls(serve: Any, api: Api, tmp_path: Path) -> None:
    files = certificates(tmp_path / "ours")
    port = serve(files, mutual=True)
    assert ask(api, port, Tls(ca=files.ca, certificate=files.certificate, key=files.key)) == 1
    with pytest.raises(CallFailed):
        ask(api, port, Tls(ca=files.ca))


def test_distrust_is_not_tried_again(serve: Any, api: Api, tmp_path: Path) -> None:
    files = certificates(tmp_path / "ours", name="serving.example")
    port = serve(files)
    other = certificates(tmp_path / "other")
    told: list[Any] = []
    for tls in (Tls(ca=files.ca), Tls(ca=other.ca), Tls()):
        with (
            Client("people", f"127.0.0.1:{port}", api=api, tls=tls, on_retry=told.append) as client,
            pytest.raises(CallFailed),
        ):
            client.predict({"fare": 1.0})
    assert told == []
