"""TLS on both ports: the server's certificate and, where clients have to show one too, who signs theirs."""

from __future__ import annotations

import dataclasses
import os
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import UsageError

if TYPE_CHECKING:
    import grpc


@dataclasses.dataclass(frozen=True)
class Tls:
    """What TensorFlow Serving's `SSLConfig` says, all in PEM.

    Attributes:
        server_key: the private key.
        server_cert: the certificate chain, the server's own first.
        custom_ca: certificates of those who sign the clients' certificates.
        client_verify: whether a client must show a certificate; then `custom_ca` must be there.
    """

    server_key: bytes = dataclasses.field(repr=False)
    server_cert: bytes = dataclasses.field(repr=False)
    custom_ca: bytes = dataclasses.field(default=b"", repr=False)
    client_verify: bool = False

    def check(self) -> None:
        """Tries the key and the certificates.

        gRPC takes a wrong key and then fails each connection without saying why.

        Raises:
            UsageError: they are not PEM, the key is not the certificate's, or no client could be verified.
        """
        self.context()

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Returns the credentials of a gRPC port.

        Raises:
            UsageError: as `check`.
        """
        import grpc

        self.check()
        return grpc.ssl_server_credentials(
            [(self.server_key, self.server_cert)],
            root_certificates=self.custom_ca or None,
            require_client_auth=self.client_verify,
        )

    def context(self) -> ssl.SSLContext:
        """Returns the context of an HTTP port.

        Raises:
            UsageError: as `check`.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # The ssl module reads keys from files only: one that nobody else can open, gone at the end.
            with tempfile.TemporaryDirectory() as folder:
                chain = Path(folder, "chain.pem")
                handle = os.open(chain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with open(handle, "wb") as file:
                    file.write(self.server_key.rstrip() + b"\n" + self.server_cert)
                # An encrypted key would make OpenSSL ask at the terminal.
                context.load_cert_chain(chain, password="")
        except (ssl.SSLError, ValueError, OSError) as e:
            raise UsageError(
                f"server_key and server_cert of the SSL config must be a private key without a password and its "
                f"certificate, in PEM. Got {_reason(e)} instead",
                hint="openssl x509 -noout -pubkey -in CERT and openssl pkey -pubout -in KEY must print the same",
            ) from e
        try:
            if self.custom_ca:
                context.load_verify_locations(cadata=self.custom_ca.decode("ascii"))
        except (ssl.SSLError, ValueError) as e:
            raise UsageError(
                f"custom_ca of the SSL config must be certificates in PEM. Got {_reason(e)} instead"
            ) from e
        if self.client_verify and not self.custom_ca:
            raise UsageError(
                "custom_ca of the SSL config must be there where client_verify is true. Got none instead",
                hint="put the certificate that signs the clients' into custom_ca; else no client can connect",
            )
        if self.client_verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _reason(error: Exception) -> str:
    return (getattr(error, "reason", None) or type(error).__name__).lower().replace("_", " ")
