"""Whether the versions on disk are what a trusted key has signed, found out ahead of their being served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schema.errors import ReleaseError
from serving.gateway.digests import Digests
from serving.ledger import Ledger
from serving.ledger_events import LedgerState
from serving.signing.statement import Statement
from serving.signing.trust import Trust
from serving.signing.version_files import check_files


def signed_versions(base_path: Path, ledger: Ledger, trust: Trust) -> Digests:
    """Returns what says which versions of a line may be served, by their signatures. It needs no TensorFlow.

    Args:
        base_path: the model base path.
        ledger: the release ledger.
        trust: whose signatures count.
    """

    def statements(folders: Sequence[Path]) -> list[tuple[Statement | ReleaseError, str]]:
        return [(_statement(folder, trust), "") for folder in folders]

    def difference(folder: Path, version: int, state: LedgerState, found: Statement | ReleaseError) -> str:
        if isinstance(found, ReleaseError):
            return str(found)
        try:
            trust.check_entry(folder, found, state, version)
        except ReleaseError as error:
            return str(error)
        return ""

    return Digests(base_path, ledger, statements, difference)


def _statement(folder: Path, trust: Trust) -> Statement | ReleaseError:
    try:
        statement = trust.signed(folder)
        check_files(folder, statement.files)
    except ReleaseError as error:
        # It names the file that does not match by itself.
        return error
    return statement
