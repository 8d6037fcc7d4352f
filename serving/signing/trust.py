"""Whose signatures count, and whether a version on disk is what one of them signed."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from schema.errors import ReleaseError
from serving.ledger_events import LedgerState
from serving.signing.dsse import Envelope, EnvelopeError, opened
from serving.signing.statement import PAYLOAD_TYPE, Statement, StatementError
from serving.signing.version_files import SIGNATURE_FILE, check_files, open_itself

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_MOST_BYTES = 16 << 20
_KEY_ID = re.compile("[0-9a-f]{64}")
_HINT = (
    "restore the version's folder and the ledger from a backup, put a signed version back (conveyor rollback), or "
    "run the line again"
)


@dataclasses.dataclass(frozen=True)
class Trust:
    """The keys that may sign releases of a line.

    Attributes:
        line: the line's name.
        keys: key id to public key.
    """

    line: str
    keys: Mapping[str, Ed25519PublicKey]

    def check(self, folder: Path, state: LedgerState, version: int, copy_to: Path | None = None) -> Statement:
        """Checks that a version is what a trusted key has signed: its files, its ledger entry and its verdict.

        Args:
            folder: the version's folder.
            state: what the ledger says.
            version: the version.
            copy_to: an empty folder that gets a copy of exactly the files that were checked.

        Returns:
            The statement that was signed.

        Raises:
            ReleaseError: names what does not match.
        """
        statement = self.signed(folder)
        self.check_entry(folder, statement, state, version)
        check_files(folder, statement.files, copy_to)
        return statement

    def signed(self, folder: Path) -> Statement:
        """Returns what a trusted key has signed about a folder; whether it is so is not looked at.

        Raises:
            ReleaseError: it has no signature, or one that does not count.
        """
        try:
            return Statement.from_payload(opened(_envelope(folder), PAYLOAD_TYPE, self.keys))
        except (EnvelopeError, StatementError) as error:
            raise ReleaseError(f"{folder / SIGNATURE_FILE}: {error}", hint=_HINT) from None

    def check_entry(self, folder: Path, statement: Statement, state: LedgerState, version: int) -> None:
        """Checks a statement against the ledger.

        Args:
            folder: the version's folder, for the message.
            statement: what was signed.
            state: what the ledger says.
            version: the version.

        Raises:
            ReleaseError: names what does not match.
        """
        entry = state.entries.get(version)
        if entry is None:
            torn = ", whose last line is torn" if state.torn else ""
            raise ReleaseError(
                f"{folder}: version {version} must have an entry in the ledger{torn}. Got none instead", hint=_HINT
            )
        try:
            statement.check(self.line, entry.pushed)
        except StatementError as error:
            raise ReleaseError(f"{folder / SIGNATURE_FILE}: {error}", hint=_HINT) from None


def claimed_key(folder: Path) -> str | None:
    """Returns the id of the key that is said to have signed a version, or None for an unsigned one; checks nothing.

    An envelope that cannot be read gives an empty text.
    """
    if not os.path.lexists(folder / SIGNATURE_FILE):
        return None
    try:
        claimed = _envelope(folder).key_id
    except (EnvelopeError, ReleaseError):
        return ""
    return claimed if _KEY_ID.fullmatch(claimed) else ""


def _envelope(folder: Path) -> Envelope:
    path = folder / SIGNATURE_FILE
    if not os.path.lexists(path):
        raise ReleaseError(
            f"{folder}: the release must be signed. Got one without {SIGNATURE_FILE} instead",
            hint="set pusher.signing and run the line again, or put a signed version back (conveyor rollback)",
        )
    try:
        with open_itself(path) as file:
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise ReleaseError(
            f"{path} must be a file that can be read. Got {error.strerror} instead", hint=_HINT
        ) from None
    return Envelope.from_bytes(content)
