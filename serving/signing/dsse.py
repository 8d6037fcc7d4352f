"""DSSE envelopes (https://github.com/secure-systems-lab/dsse), signed by Ed25519: made, and taken apart strictly.

The envelope itself is not signed, only what is in it. So that no byte of the file can be another one, a file counts
only if it is the one way to write its envelope: canonical JSON, canonical base64, one signature.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from schema.base import canonical_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_KEYS = {"payload", "payloadType", "signatures"}
_SIGNATURE_KEYS = {"keyid", "sig"}


class EnvelopeError(ValueError):
    """An envelope does not hold; the message says what of it."""


@dataclasses.dataclass(frozen=True)
class Envelope:
    """A payload with a signature, of which nothing is known yet.

    Attributes:
        payload_type: what the payload is, a media type.
        payload: the payload.
        key_id: the key that is said to have signed it.
        signature: the signature.
    """

    payload_type: str
    payload: bytes
    key_id: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Returns the one way to write it as a file."""
        document = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode()}],
        }
        return canonical_json(document).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> Envelope:
        """Reads what `to_bytes` gave, and nothing else.

        Raises:
            EnvelopeError: it is anything else.
        """
        try:
            document = json.loads(content)
            if not isinstance(document, dict) or document.keys() != _KEYS:
                raise ValueError
            (signature,) = document["signatures"]
            if not isinstance(signature, dict) or signature.keys() != _SIGNATURE_KEYS:
                raise ValueError
            envelope = cls(
                payload_type=str(document["payloadType"]),
                payload=base64.b64decode(document["payload"], validate=True),
                key_id=str(signature["keyid"]),
                signature=base64.b64decode(signature["sig"], validate=True),
            )
            same = envelope.to_bytes() == content
        except (ValueError, TypeError, RecursionError, binascii.Error):
            same = False
        if not same:
            raise EnvelopeError("the envelope must be DSSE as Conveyor writes it. Got other bytes instead")
        return envelope


def pae(payload_type: str, payload: bytes) -> bytes:
    """Returns DSSE's pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, key: Ed25519PrivateKey, key_id: str) -> Envelope:
    """Signs a payload.

    Args:
        payload_type: what it is, a media type.
        payload: the payload.
        key: the private key.
        key_id: its key id.
    """
    return Envelope(payload_type, payload, key_id, key.sign(pae(payload_type, payload)))


def opened(envelope: Envelope, payload_type: str, keys: Mapping[str, Ed25519PublicKey]) -> bytes:
    """Returns an envelope's payload, once its signature holds.

    Args:
        envelope: the envelope.
        payload_type: what the payload must be.
        keys: key id to public key, those that are trusted.

    Raises:
        EnvelopeError: the key is none of them, the signature is not its, or the payload is something else.
    """
    from cryptography.exceptions import InvalidSignature

    key = keys.get(envelope.key_id)
    if key is None:
        known = ", ".join(sorted(keys)) or "none"
        raise EnvelopeError(f"the key id must be a trusted one: {known}. Got {envelope.key_id[:64]!r} instead")
    try:
        key.verify(envelope.signature, pae(envelope.payload_type, envelope.payload))
    except InvalidSignature:
        raise EnvelopeError(
            f"the signature must be that of key {envelope.key_id} over the statement. Got one that does not match "
            "instead: statement or signature was changed"
        ) from None
    if envelope.payload_type != payload_type:
        raise EnvelopeError(f"the payload type must be {payload_type}. Got {envelope.payload_type!r} instead")
    return envelope.payload
