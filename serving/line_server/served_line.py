"""What `conveyor serve` and `conveyor gateway` serve: a line, where its things are, and who may ask for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from schema.errors import UsageError
from schema.serving import LimitsConfig, ServingConfig, TlsConfig
from serving.model_server.access import Access, Limits
from serving.model_server.tls import Tls
from serving.model_server.tokens import TokenFile
from serving.signing.trust import Trust


@dataclasses.dataclass(frozen=True)
class ServedLine:
    """What is served, and from where.

    Attributes:
        name: the line's name, which clients call the model.
        base_path: the model base path, absolute.
        ledger: the release ledger.
        capture: the folder of captured records.
        config: the line's `serving` section, secrets filled in.
        config_folder: where relative paths in it begin.
        trust: whose signature a version must have to be served, or None where it needs none.
    """

    name: str
    base_path: Path
    ledger: Path
    capture: Path
    config: ServingConfig
    config_folder: Path
    trust: Trust | None = None

    def access(self) -> Access:
        """Returns who may ask, and for how much, as the config says.

        Raises:
            UsageError: the tokens or certificates cannot be used.
        """
        config = self.config
        tokens = TokenFile(self.config_folder / config.tokens_file) if config.tokens_file else None
        return Access(tokens=tokens, tls=read_tls(config.tls, self.config_folder), limits=limits_of(config.limits))


def read_tls(config: TlsConfig | None, folder: Path) -> Tls | None:
    """Returns the certificates that a config names, or None when it names none.

    Raises:
        UsageError: a file cannot be read, or the key is not the certificate's.
    """
    if config is None:
        return None
    tls = Tls(
        server_key=_read(folder / config.key, "key"),
        server_cert=_read(folder / config.certificate, "certificate"),
        custom_ca=b"" if config.client_ca is None else _read(folder / config.client_ca, "client_ca"),
        client_verify=config.client_ca is not None,
    )
    tls.check()
    return tls


def limits_of(config: LimitsConfig) -> Limits:
    """Returns the limits that a config names."""
    return Limits(
        message_bytes=config.max_message_bytes,
        header_bytes=config.max_header_bytes,
        batch_rows=config.max_batch_rows,
        concurrent_requests=config.max_concurrent_requests,
        request_seconds=config.request_timeout_seconds,
    )


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"serving.tls.{key} must be a PEM file that can be read. Got {path} instead ({error.strerror})",
            hint="correct the path in the line config, or make the file readable for the server's user",
        ) from error
