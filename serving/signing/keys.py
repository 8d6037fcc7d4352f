"""Ed25519 keys in PEM files: private ones (PKCS8) that sign, public ones (SubjectPublicKeyInfo) that are trusted."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MAKE_KEY = "openssl genpkey -algorithm ed25519 -out release.key makes one"
_MAKE_PUBLIC = "openssl pkey -in release.key -pubout -out release.pub.pem writes the public one"
_MOST_BYTES = 64 * 1024


def key_id(key: Ed25519PublicKey) -> str:
    """Returns the key id: the SHA-256 of the public key's SubjectPublicKeyInfo (DER), 64 hex digits."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def private_key(content: bytes, where: str) -> Ed25519PrivateKey:
    """Returns the private key of a PEM text. No message holds any of the text.

    Args:
        content: the text.
        where: what messages call it.

    Raises:
        ConfigError: it is no Ed25519 private key in PKCS8 that can be used without a password.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    wanted = f"{where} must be an Ed25519 private key, PKCS8 in PEM, without a password"
    if b"-----BEGIN PUBLIC KEY-----" in content:
        raise ConfigError(f"{wanted}. Got a public key instead", hint=_MAKE_KEY)
    try:
        # Without `from`: what the library says may quote the text.
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigError(
            f"{wanted}. Got an encrypted one instead", hint=f"openssl pkey -in KEY -out release.key; or {_MAKE_KEY}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{wanted}. Got something else instead", hint=_MAKE_KEY) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{wanted}. Got one of another kind instead", hint=_MAKE_KEY)
    return key


def read_private_key(path: Path, where: str) -> Ed25519PrivateKey:
    """Reads a private key from a file.

    Args:
        path: the file. Nobody but its owner and, for reading, its group may have access to it.
        where: what messages call it.

    Raises:
        ConfigError: it cannot be read, others have access to it, or it is no such key.
    """
    content, mode = _read(path, where, _MAKE_KEY)
    if mode & (stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO):
        raise ConfigError(
            f"{where} must be a file that its owner alone can change and others cannot read. Got {path} with mode "
            f"{stat.S_IMODE(mode):04o} instead",
            hint=f"chmod 600 {path}; if others could read it, make another key",
        )
    return private_key(content, f"{where} ({path})")


def read_public_keys(paths: Iterable[Path], where: str) -> dict[str, Ed25519PublicKey]:
    """Reads public keys, one a file.

    Args:
        paths: the PEM files.
        where: what messages call them.

    Returns:
        Key id to key.

    Raises:
        ConfigError: a file cannot be read, or is no Ed25519 public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys = {}
    for path in paths:
        content, _ = _read(path, where, _MAKE_PUBLIC)
        wanted = f"{where} ({path}) must be one Ed25519 public key in PEM"
        if b"PRIVATE KEY-----" in content:
            raise ConfigError(
                f"{wanted}. Got a private key instead", hint=f"a server must not have that one; {_MAKE_PUBLIC}"
            )
        # The library reads the first and passes over the others.
        if content.count(b"-----BEGIN ") > 1:
            raise ConfigError(f"{wanted}. Got more than one instead", hint="write each into a file of its own")
        try:
            key = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm):
            raise ConfigError(f"{wanted}. Got something else instead", hint=_MAKE_PUBLIC) from None
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"{wanted}. Got one of another kind instead", hint=_MAKE_PUBLIC)
        keys[key_id(key)] = key
    return keys


def _read(path: Path, where: str, hint: str) -> tuple[bytes, int]:
    try:
        # Not to wait for a pipe's writer.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{where} must be a file. Got {path} instead, which is none", hint=hint)
            return file.read(_MOST_BYTES), mode
    except (OSError, ValueError) as error:
        # ValueError: a name that no file can have.
        why = error.strerror if isinstance(error, OSError) else "no file can have that name"
        shown = str(path) if str(path).isprintable() else ascii(str(path))
        raise ConfigError(f"{where} must be a file that can be read. Got {shown} instead ({why})", hint=hint) from None
