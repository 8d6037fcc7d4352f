"""A line of toy models whose releases are signed, as the Pusher leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from serving.ledger_events import Kind, LedgerEvent
from serving.model_digest import model_digest
from serving.signing.dsse import seal
from serving.signing.keys import key_id
from serving.signing.statement import (
    PAYLOAD_TYPE,
    EvaluationWord,
    InfraWord,
    Origin,
    SignedSpan,
    statement_of,
)
from serving.signing.trust import Trust
from serving.signing.version_files import SIGNATURE_FILE, file_digests
from tests.serving.line_server.conftest import ToyLine

FACTS = {
    "spans": [SignedSpan(span=1, version=0, label="2014Q1", fingerprint="f" * 64, rows=7)],
    "evaluation": EvaluationWord(blessed=True, metrics={"auc": 0.9, "recall": None}, not_judged=()),
    "infra_validation": InfraWord(blessed=True, checks={"latency": True}),
}
ORIGIN = Origin(config_digest="c" * 64, git_commit="0" * 40, lock_sha256="1" * 64)


def a_key(number: int) -> Ed25519PrivateKey:
    """Returns a key, the same for the same number."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def trust(*numbers: int, line: str = "toy") -> Trust:
    """Returns trust in the keys of these numbers."""
    keys = [a_key(number).public_key() for number in numbers]
    return Trust(line, {key_id(key): key for key in keys})


def private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_keys(folder: Path, number: int = 1) -> tuple[Path, Path]:
    """Writes a key's two files and returns them, the private one first."""
    private, public = folder / f"{number}.key", folder / f"{number}.pub.pem"
    private.write_bytes(private_pem(a_key(number)))
    private.chmod(0o600)
    public.write_bytes(public_pem(a_key(number)))
    return private, public


def sign(folder: Path, event: LedgerEvent, number: int = 1, line: str = "toy") -> None:
    """Puts a signature into a version's folder."""
    key = a_key(number)
    statement = statement_of(line, event, file_digests(folder), ORIGIN, FACTS)
    content = seal(PAYLOAD_TYPE, statement.payload(), key, key_id(key.public_key())).to_bytes()
    (folder / SIGNATURE_FILE).write_bytes(content)


class SignedLine(ToyLine):
    """A line of which each version is signed by key 1, unless a test wants it otherwise."""

    def push(self, *versions: int, number: int | None = 1) -> None:
        for version in versions:
            folder = self._models.write(self.base, version, offset=float(version))
            event = LedgerEvent(
                event="pushed",
                version=version,
                run_id=f"run-{version}",
                model_digest=model_digest(folder),
                verdict="pushed",
                who="ada",
                when="2026-11-22T01:02:03.004+00:00",
                reason="a test",
                model_uri=f"/models/{version}",
                path=str(folder),
            )
            if number is not None:
                sign(folder, event, number)
            self.ledger.append(event)

    def event(self, kind: Kind, version: int, **more: Any) -> LedgerEvent:
        """Returns an event as somebody may write it who looks at no folder."""
        return LedgerEvent(event=kind, version=version, who="eve", when="now", **more)
