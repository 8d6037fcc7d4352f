"""Whom a client asks, and how it gets there: model, address, TLS and token."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path
from typing import Literal

from schema.errors import UsageError

Api = Literal["gRPC", "REST"]
DEFAULT_PORTS: dict[Api, int] = {"gRPC": 8500, "REST": 8501}


@dataclasses.dataclass(frozen=True)
class Model:
    """The model that is asked for.

    Attributes:
        name: the model's name on the server.
        version: a version, or None for the one that the server chooses.
        label: a version label such as `canary`, or None; never together with a version.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("the model must have a name. Got an empty one instead")
        if self.version is not None and self.label is not None:
            raise UsageError(
                f"version and label must not both be given. Got version {self.version} and label {self.label!r} instead"
            )

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name} version {self.version}"
        return self.name if self.label is None else f"{self.name} label {self.label}"


@dataclasses.dataclass(frozen=True)
class Tls:
    """TLS to the server.

    Attributes:
        ca: PEM file of the authority that the server's certificate must come from; by default the system's.
        certificate: PEM file of the client's own certificate, for mutual TLS.
        key: PEM file of its private key.
        server_name: the name that the server's certificate must have, where it is not that of the address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise UsageError("a client certificate and its key must be given together. Got only one of them instead")
        for what, file in (("ca", self.ca), ("certificate", self.certificate), ("key", self.key)):
            if file is not None and not file.is_file():
                raise UsageError(f"{what} must be a PEM file. Got {file} instead, where there is none")

    def read(self, file: Path | None) -> bytes | None:
        """Returns a PEM file's bytes, or None for None."""
        return None if file is None else file.read_bytes()


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        host: a name or an IP address.
        port: the port.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, api: Api) -> Address:
        """Reads `HOST:PORT` or `HOST`; an IPv6 address stands in brackets where a port follows.

        Args:
            text: the address.
            api: decides the port where none is given.

        Raises:
            UsageError: it is neither.
        """
        default = DEFAULT_PORTS[api]
        problem = UsageError(
            f"the address must be HOST:PORT, e.g. 127.0.0.1:{default} or [::1]:{default}. Got {text!r} instead",
            hint="TLS is asked for by its own options, not by https://" if "//" in text else "",
        )
        host, port = text, str(default)
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise problem
            port = rest[1:] or port
        elif text.count(":") == 1:
            host, port = text.split(":")
        if not host or any(c in "/@?# []" for c in host) or not (port.isascii() and port.isdigit()):
            raise problem
        if not 0 < int(port) < 65536:
            raise problem
        if ":" in host:
            try:
                ipaddress.IPv6Address(host)
            except ValueError:
                raise problem from None
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is this very machine, which no proxy leads to."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_token(file: Path) -> str:
    """Reads a bearer token: the only word in a file.

    Raises:
        UsageError: the file cannot be read, or holds something else. What it holds is not told.
    """
    try:
        words = file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise UsageError(f"the token file {file} must be readable. Got {error.strerror} instead") from None
    except UnicodeDecodeError:
        words = []
    if len(words) != 1 or not words[0].isascii():
        raise UsageError(
            f"the token file {file} must hold one token and nothing else. Got {len(words)} words instead",
            hint="the server's own tokens file has the role before each token; a client's file has the token alone",
        )
    return words[0]
