"""Bearer tokens: who may ask for predictions and who may change what is served."""

from __future__ import annotations

import enum
import hashlib
import hmac
import logging
import os
import stat
import threading
import time
from pathlib import Path

from schema.errors import UsageError

_LOG = logging.getLogger(__name__)
_LOOK_EVERY_SECONDS = 1.0


class Role(enum.IntEnum):
    """What a caller may do; a higher role may do all that a lower one may."""

    READ = 1
    ADMIN = 2


class TokenFile:
    """The tokens in a file, read again when the file changes.

    A line is `ROLE TOKEN` or `ROLE: TOKEN`, the role `read` or `admin`; empty lines and those that start with `#` are
    passed over. A file that becomes unreadable or wrong while the server runs is logged, and the tokens read before
    stay in force.

    Args:
        path: the file. Nobody but its owner and, for reading, its group may have access to it.

    Raises:
        UsageError: the file cannot be read, others have access to it, or a line is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._tokens, self._seen = _read(path)
        self._looked = time.monotonic()

    def role(self, token: str) -> Role | None:
        """Returns the role of a token, or None for an unknown one. Takes as long for either."""
        if time.monotonic() - self._looked > _LOOK_EVERY_SECONDS:
            self._look()
        # Digests are of one length, so that the time does not tell the tokens' lengths either.
        digest = _digest(token)
        found: Role | None = None
        for known, role in self._tokens:
            if hmac.compare_digest(digest, known):
                found = role
        return found

    def _look(self) -> None:
        with self._lock:
            self._looked = time.monotonic()
            try:
                if _identity(os.stat(self.path)) != self._seen:
                    self._tokens, self._seen = _read(self.path)
                    _LOG.info("read %d tokens anew from %s", len(self._tokens), self.path)
            except (OSError, UsageError) as e:
                _LOG.error("the tokens read before stay in force: %s", e)


def _read(path: Path) -> tuple[list[tuple[bytes, Role]], tuple[int, ...]]:
    try:
        with open(path, "rb") as file:
            # Of the open file, so that what is checked is what is read.
            status = os.fstat(file.fileno())
            if stat.S_IMODE(status.st_mode) & (stat.S_IRWXO | stat.S_IWGRP):
                raise UsageError(
                    f"{path} must be accessible to nobody but its owner and readable to its group at most. "
                    f"Got mode {stat.S_IMODE(status.st_mode):04o} instead",
                    hint=f"chmod 600 {path}",
                )
            content = file.read()
    except OSError as e:
        raise UsageError(f"{path} must be a file of tokens. Got {e.strerror or e} instead") from e
    return _parse(path, content), _identity(status)


def _parse(path: Path, content: bytes) -> list[tuple[bytes, Role]]:
    tokens: dict[bytes, Role] = {}
    # No message shows a line: it may hold a token.
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        role = Role.__members__.get(words[0].removesuffix(":").upper())
        if role is None or len(words) != 2:
            raise UsageError(
                f"{path}:{number} must be a role, read or admin, and a token. Got {len(words)} word(s)"
                + (" instead" if len(words) != 2 else ", of which the first is no role, instead"),
                hint="one token a line, e.g. the output of: echo read $(openssl rand -hex 32)",
            )
        if not words[1].isascii() or not words[1].isprintable():
            raise UsageError(f"{path}:{number} must have a token of printable ASCII characters")
        digest = _digest(words[1])
        tokens[digest] = max(role, tokens.get(digest, role))
    if not tokens:
        raise UsageError(
            f"{path} must have at least one token. Got none instead",
            hint=f"echo read $(openssl rand -hex 32) > {path}",
        )
    return list(tokens.items())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode
