"""Signing of a release: what the Pusher is told to sign with, and the signature as a file."""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schema.base import Handover
from schema.errors import ConfigError, ReleaseError
from schema.loading import REFERENCE
from serving.base_path import TEMPORARY_PREFIX
from serving.ledger import sync_folder
from serving.ledger_events import LedgerEvent, LedgerState
from serving.signing.dsse import seal
from serving.signing.keys import key_id, private_key, read_private_key
from serving.signing.statement import PAYLOAD_TYPE, Origin, statement_of
from serving.signing.trust import Trust, claimed_key
from serving.signing.version_files import SIGNATURE_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class SigningOrder(Handover):
    """How releases of a run are to be signed. It names the key and does not hold it: it is stored in ML Metadata."""

    origin: Origin
    """What the release is made by."""
    key_file: str | None = None
    """The private key's file, absolute."""
    key: str | None = None
    """Else the reference to it, `${NAME}`, which is looked up in the environment of the process that signs."""
    key_id: str | None = None
    """The key's id, where the key was there when the run began."""


@dataclasses.dataclass(frozen=True)
class Signer:
    """Signs releases of a line.

    Attributes:
        line: the line's name.
        key: the private key. Not part of repr.
        key_id: its key id.
        origin: what the release is made by.
        more: what else the statement says: `spans`, `evaluation` and `infra_validation`.
    """

    line: str
    key: Ed25519PrivateKey = dataclasses.field(repr=False)
    key_id: str
    origin: Origin
    more: Mapping[str, Any]

    def envelope(self, files: Mapping[str, str], event: LedgerEvent) -> bytes:
        """Returns the envelope's file for a release.

        Args:
            files: relative path to SHA-256 of the version's files.
            event: the event that will release it.
        """
        statement = statement_of(self.line, event, files, self.origin, self.more)
        return seal(PAYLOAD_TYPE, statement.payload(), self.key, self.key_id).to_bytes()

    def has_signed(self, folder: Path, state: LedgerState, version: int) -> bool:
        """Returns whether a version has been signed by this key; False where by none, or by another.

        Args:
            folder: the version's folder.
            state: what the ledger says.
            version: the version.

        Raises:
            ReleaseError: this key has signed it, but something has been changed since.
        """
        if claimed_key(folder) != self.key_id:
            return False
        Trust(self.line, {self.key_id: self.key.public_key()}).check(folder, state, version)
        return True


def order_key(order: SigningOrder, env: Mapping[str, str], where: str = "pusher.signing") -> Ed25519PrivateKey:
    """Returns the private key that an order names.

    Args:
        order: the order.
        env: the environment.
        where: what messages begin with.

    Raises:
        ConfigError: it is not there, or is no key that can be used.
    """
    if order.key_file is not None:
        return read_private_key(Path(order.key_file), f"{where}.key_file")
    text = order.key or ""
    missing = [name for name in REFERENCE.findall(text) if not env.get(name)]
    if missing:
        raise ConfigError(
            f"{where}.key: the environment variable {missing[0]} must be set where the Pusher runs. Got nothing instead"
        )
    return private_key(REFERENCE.sub(lambda match: env[match[1]], text).encode(), f"{where}.key")


def signer(line: str, order: SigningOrder, env: Mapping[str, str], more: Mapping[str, Any]) -> Signer:
    """Returns the signer of an order.

    Args:
        line: the line's name.
        order: the order.
        env: the environment.
        more: see `Signer`.

    Raises:
        ConfigError: see `order_key`.
        ReleaseError: the key is another one than when the run began.
    """
    key = order_key(order, env)
    found = key_id(key.public_key())
    if order.key_id not in (None, found):
        raise ReleaseError(
            f"pusher.signing must be the key {order.key_id}, as when the run began. Got {found} instead",
            hint="the key was exchanged meanwhile; run the line again",
        )
    return Signer(line, key, found, order.origin, more)


def leave_signature(folder: Path, content: bytes, base_path: Path) -> None:
    """Puts an envelope into a version's folder, whole and durably.

    Args:
        folder: the version's folder.
        content: the envelope's file.
        base_path: the model base path; what a kill leaves there goes with the next push.
    """
    temporary = base_path / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    temporary.mkdir()
    with open(temporary / SIGNATURE_FILE, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary / SIGNATURE_FILE, folder / SIGNATURE_FILE)
    sync_folder(folder)
    temporary.rmdir()
