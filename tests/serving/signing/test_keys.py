"""Keys: which files are taken, and that no message tells what is in one."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from schema.errors import ConfigError
from serving.signing.keys import key_id, private_key, read_private_key, read_public_keys
from tests.serving.signing.signed_line import a_key, private_pem, public_pem, write_keys

PKCS8 = (Encoding.PEM, PrivateFormat.PKCS8)
EC = ec.generate_private_key(ec.SECP256R1())


def test_the_key_id_is_the_digest_of_the_public_keys_der(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    der = base64.b64decode("".join(public.read_text().splitlines()[1:-1]))
    expected = hashlib.sha256(der).hexdigest()
    assert key_id(read_private_key(private, "k").public_key()) == expected
    assert list(read_public_keys([public], "t")) == [expected]


def test_several_keys_are_trusted(tmp_path: Path) -> None:
    files = [write_keys(tmp_path, number)[1] for number in (1, 2)]
    assert len(read_public_keys(files, "t")) == 2
    assert read_public_keys([], "t") == {}


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (lambda: a_key(1).private_bytes(*PKCS8, BestAvailableEncryption(b"secret")), "an encrypted one"),
        (lambda: EC.private_bytes(*PKCS8, NoEncryption()), "one of another kind"),
        (lambda: rsa.generate_private_key(65537, 2048).private_bytes(*PKCS8, NoEncryption()), "one of another kind"),
        (lambda: public_pem(a_key(1)), "a public key"),
        (lambda: b"", "something else"),
        (lambda: b"hush-hush", "something else"),
        (lambda: private_pem(a_key(1))[:60], "something else"),
        (lambda: b"-----BEGIN PRIVATE KEY-----\nhush-hush\n-----END PRIVATE KEY-----\n", "something else"),
    ],
)
def test_what_is_no_private_key(content: Callable[[], bytes], got: str) -> None:
    with pytest.raises(ConfigError, match="must be an Ed25519 private key") as error:
        private_key(content(), "pusher.signing.key")
    assert f". Got {got}" in str(error.value)
    assert "hush" not in str(error.value)
    # Neither does what it was raised from: a stack trace in a log shows that too.
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o610, 0o666])
def test_a_private_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    private, _ = write_keys(tmp_path)
    private.chmod(mode)
    with pytest.raises(ConfigError, match=f"with mode {mode:04o}"):
        read_private_key(private, "pusher.signing.key_file")
    private.chmod(0o640)
    read_private_key(private, "pusher.signing.key_file")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("none", "No such file"),
        ("", "Is a directory"),
        ("pipe", "which is none"),
        ("a\0b", r"a\\x00b' instead \(no file can have that name\)"),
    ):
        with pytest.raises(ConfigError, match=f"pusher.signing.key_file must be a file.*{words}"):
            read_private_key(tmp_path / name, "pusher.signing.key_file")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (private_pem(a_key(1)), "a private key"),
        (public_pem(a_key(1)) + public_pem(a_key(2)), "more than one"),
        (EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "one of another kind"),
        (b"no key", "something else"),
    ],
    ids=["private", "two", "other kind", "none"],
)
def test_what_is_no_public_key(tmp_path: Path, content: bytes, got: str) -> None:
    (tmp_path / "k.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=f"must be one Ed25519 public key in PEM. Got .*{got} instead"):
        read_public_keys([tmp_path / "k.pem"], "serving.trusted_keys")
