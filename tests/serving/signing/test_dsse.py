"""Envelopes: the specification's own vectors, and no second way to write one."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from serving.signing.dsse import Envelope, EnvelopeError, opened, pae, seal
from serving.signing.keys import key_id
from tests.serving.signing.signed_line import a_key

KEY = a_key(1)
KEY_ID = key_id(KEY.public_key())
TRUSTED = {KEY_ID: KEY.public_key()}
FILE = seal("text/plain", b"hello world", KEY, KEY_ID).to_bytes()


def test_the_pre_authentication_encoding_is_the_specifications() -> None:
    # https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, "Test Vectors"
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("", b"") == b"DSSEv1 0  0 "
    # Lengths are those of bytes.
    assert pae("é", "ü!".encode()) == b"DSSEv1 2 \xc3\xa9 3 \xc3\xbc!"


def test_the_signature_is_ed25519_over_that_encoding() -> None:
    # RFC 8032, 7.1, test 1: the key; Ed25519 is deterministic, so that a signature is a vector too.
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a")
    envelope = seal("http://example.com/HelloWorld", b"hello world", key, "id")
    assert envelope.signature == key.sign(b"DSSEv1 29 http://example.com/HelloWorld 11 hello world")


def test_what_was_sealed_is_opened() -> None:
    envelope = Envelope.from_bytes(FILE)
    assert opened(envelope, "text/plain", TRUSTED) == b"hello world"
    document = json.loads(FILE)
    assert document == {
        "payload": "aGVsbG8gd29ybGQ=",
        "payloadType": "text/plain",
        "signatures": [{"keyid": KEY_ID, "sig": document["signatures"][0]["sig"]}],
    }


@given(st.integers(0, len(FILE) - 1), st.integers(0, 7))
def test_no_bit_of_the_file_may_be_another(place: int, bit: int) -> None:
    changed = bytearray(FILE)
    changed[place] ^= 1 << bit
    with pytest.raises(EnvelopeError):
        opened(Envelope.from_bytes(bytes(changed)), "text/plain", TRUSTED)


@given(st.binary(max_size=200))
def test_anything_else_is_no_envelope(content: bytes) -> None:
    with pytest.raises(EnvelopeError):
        Envelope.from_bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"payload": 1, "payloadType": "t", "signatures": []}',
        b"null",
        FILE + b"\n",
        FILE.replace(b'":"', b'": "', 1),
        FILE.replace(b"}]}", b'},{"keyid":"","sig":""}]}'),
        FILE.replace(b"}]}", b'}],"more":1}'),
    ],
)
def test_another_way_to_write_one_does_not_count(content: bytes) -> None:
    with pytest.raises(EnvelopeError, match="DSSE as Conveyor writes it"):
        Envelope.from_bytes(content)


def test_who_signed_it_and_what_it_is_about() -> None:
    envelope = Envelope.from_bytes(FILE)
    other = a_key(2).public_key()
    with pytest.raises(EnvelopeError, match=f"key id must be a trusted one: {key_id(other)}. Got '{KEY_ID}'"):
        opened(envelope, "text/plain", {key_id(other): other})
    with pytest.raises(EnvelopeError, match="the signature must be that of key"):
        opened(envelope, "text/plain", {KEY_ID: other})
    with pytest.raises(EnvelopeError, match="the payload type must be text/html. Got 'text/plain'"):
        opened(envelope, "text/html", TRUSTED)
