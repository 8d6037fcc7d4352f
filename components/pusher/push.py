"""The push: a SavedModel becomes the next version in a base path, all of it or nothing, and is recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import filelock

from components.pusher.pruning import prune
from components.pusher.signing import Signer, leave_signature
from components.pusher.vertex_endpoint import deploy
from data.mounts import mounted_folder
from schema.errors import ReleaseError
from serving.base_path import (
    TEMPORARY_PREFIX,
    VersionFolders,
    next_version,
    reconcile,
    remove_temporaries,
    scan,
    unrecorded,
)
from serving.ledger import LOCK_SECONDS, Ledger, os_user, sync_folder, utc_now
from serving.ledger_events import LedgerEvent, LedgerState
from serving.release_change import Digest, endpoint_of
from serving.signing.version_files import SIGNATURE_FILE, check_files, file_digests

_LOG = logging.getLogger(__name__)

PushOutcome = Literal["pushed", "adopted", "already live", "rolled back before"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model that may be pushed.

    Attributes:
        folder: the SavedModel.
        digest: its model digest.
        uri: URI of its Model artifact.
        run_id: the run that pushes it.
    """

    folder: Path
    digest: str
    uri: str
    run_id: str


@dataclasses.dataclass(frozen=True)
class PushResult:
    """What a push did.

    Attributes:
        outcome: `adopted` finished an earlier push that was killed before it was recorded; `already live` found the
            same model live; `rolled back before` found that the same model was released and withdrawn since.
        version: the version that holds the model.
        path: that version's folder.
        reason: the outcome in words.
    """

    outcome: PushOutcome
    version: int
    path: Path
    reason: str

    @property
    def live(self) -> bool:
        """Whether the candidate is live now."""
        return self.outcome != "rolled back before"

    @property
    def new(self) -> bool:
        """Whether there is a release that was not there before."""
        return self.outcome in ("pushed", "adopted")


def push(
    candidate: Candidate,
    destination: str | Path,
    ledger: Ledger,
    *,
    digest: Digest,
    keep_versions: int | None = None,
    endpoint: dict[str, Any] | None = None,
    signer: Signer | None = None,
) -> PushResult:
    """Releases a candidate.

    The copy is made under a temporary name on the same file system and renamed to its version once it is on disk:
    TensorFlow Serving loads a half-written version folder at once. A push that is killed after the rename and before
    the record is adopted by the next push of the same model.

    A model that was rolled back is not pushed again by a run: somebody decided that it must not be served.

    With a signer, a version has its signature before it has its name. The model that is live without one of this key is
    released anew: what was signed is a part of a release, and nothing that lies there is signed on its own word.

    Args:
        candidate: the model.
        destination: the model base path, a folder on a mounted file system or in a mounted bucket.
        ledger: the release ledger.
        digest: gives a SavedModel folder's model digest.
        keep_versions: how many of the newest versions to keep; all by default. The live one, the one that a
            rollback would go back to, and those on trial are kept in any case.
        endpoint: config of the Vertex endpoint that is to serve the version; the ledger records it only afterwards.
        signer: signs the release; by default it has no signature.

    Raises:
        ConfigError: the destination is no folder, or in a bucket that is not mounted.
        ReleaseError: the ledger is damaged, the base path cannot be written, the copy is not what it was copied
            from, or the live version is not what this signer's key has signed.
    """
    base_path = Path(mounted_folder(str(destination), os.environ, "pusher.push_destination"))
    try:
        base_path.mkdir(parents=True, exist_ok=True)
        with _sole_pusher(base_path):
            release = _Release(candidate, base_path, ledger, digest, endpoint, signer)
            return _push(release, keep_versions)
    except OSError as error:
        raise ReleaseError(
            f"{base_path}: the model base path and the ledger must be writable. Got {error} instead",
            hint="mend that and run the line again; the model was not released",
        ) from error


@dataclasses.dataclass(frozen=True)
class _Release:
    """What is to be released, where, and how it comes to be served."""

    candidate: Candidate
    base_path: Path
    ledger: Ledger
    digest: Digest
    endpoint: dict[str, Any] | None
    signer: Signer | None

    def serve(self, path: Path) -> None:
        """Has the endpoint, if there is one, serve a version's folder."""
        if self.endpoint is not None:
            deploy(path, self.candidate.digest, self.endpoint)

    def is_signed(self, path: Path, state: LedgerState) -> bool:
        """Returns whether a version that is there already has the signature that this release is to have."""
        return self.signer is None or self.signer.has_signed(path, state, int(path.name))

    @functools.cached_property
    def files(self) -> dict[str, str]:
        """The digests of the candidate's files, once they are asked for."""
        return file_digests(self.candidate.folder)

    def may_sign(self, folder: Path) -> bool:
        """Returns whether a folder has the candidate's very files: others may have changed them since they were copied.

        The model digest alone would not tell: it passes over what does not change the model.
        """
        if self.signer is None:
            return True
        signed = self.files
        try:
            check_files(folder, signed)
        except ReleaseError as error:
            _LOG.warning("not signed: %s", error)
            return False
        return True

    def sign(self, folder: Path, event: LedgerEvent) -> None:
        """Puts the signature into a folder, for an event that is about to be recorded."""
        if self.signer is None:
            (folder / SIGNATURE_FILE).unlink(missing_ok=True)
        else:
            leave_signature(folder, self.signer.envelope(self.files, event), self.base_path)


def _push(release: _Release, keep_versions: int | None) -> PushResult:
    candidate, base_path, ledger, digest = release.candidate, release.base_path, release.ledger, release.digest
    with ledger.locked():
        reconcile(base_path, ledger.state())
        result = _without_copy(release)
        if result is not None:
            return result
    # The copy is made without the ledger's lock: a rollback must not wait for a large model.
    copy = base_path / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    _copy_durably(candidate.folder, copy)
    found = digest(copy)
    if found != candidate.digest:
        raise ReleaseError(
            f"{copy}: the copy must have the model digest {candidate.digest}. Got {found} instead",
            hint="the disk or another process changed the model while it was copied; run the line again",
        )
    if not release.may_sign(copy):
        raise ReleaseError(
            f"{copy}: the copy must have the files of {candidate.folder} to be signed. Got other ones instead",
            hint="the disk or another process changed the model while it was copied; run the line again",
        )
    with ledger.locked():
        state = ledger.state()
        version = next_version(state, scan(base_path))
        path = base_path / str(version)
        event = _event(release, path)
        release.sign(copy, event)
        os.rename(copy, path)
        try:
            sync_folder(base_path)
            # With the lock held: nobody may release another version while the endpoint goes over to this one.
            release.serve(path)
            state = ledger.append(event)
        except Exception:
            os.rename(path, copy)  # What cannot be recorded must not be served.
            raise
        pruned = prune(base_path, ledger, state, keep_versions)
    reason = f"version {version} is live"
    if pruned:
        reason += f"; removed {', '.join(f'version {old}' for old in pruned)}"
    return PushResult("pushed", version, path, reason)


def _without_copy(release: _Release) -> PushResult | None:
    candidate, base_path, ledger, digest = release.candidate, release.base_path, release.ledger, release.digest
    state = ledger.state()
    folders = scan(base_path)
    same = state.with_digest(candidate.digest)
    # Where it is served is part of a release: a rollback has to know it from the ledger.
    if state.live in same and state.live is not None and endpoint_of(state) == release.endpoint:
        path = folders.visible.get(state.live)
        if path is None or not _holds(path, candidate, digest):
            raise ReleaseError(
                f"{base_path / str(state.live)}: version {state.live}, which is live, must hold the model that was "
                f"released, digest {candidate.digest}. Got {'no folder' if path is None else 'another one'} instead",
                hint=f"restore it: copy {candidate.folder} to {base_path / str(state.live)}",
            )
        if release.is_signed(path, state):
            release.serve(path)
            reason = f"the same model is live already as version {state.live}"
            return PushResult("already live", state.live, path, reason)
    orphan = _orphan(candidate, state, folders, digest)
    if orphan in folders.visible and not release.may_sign(folders.visible[orphan]):
        orphan = None
    if orphan is not None and orphan in folders.visible:
        path = folders.visible[orphan]
        event = _event(release, path, reason="finished a push that had been interrupted")
        release.sign(path, event)
        release.serve(path)
        ledger.append(event)
        return PushResult("adopted", orphan, path, f"version {orphan}, left by an interrupted push, is live")
    withdrawn = [version for version in same if state.entries[version].withdrawn]
    if orphan is not None:
        withdrawn.append(orphan)
    if withdrawn:
        version = withdrawn[-1]
        path = folders.folder(version) or base_path / str(version)
        how = f"conveyor rollback --to {version}" if version in state.entries else f"renaming its folder {path}"
        reason = f"the same model was rolled back as version {version}; {how} puts it forward again"
        return PushResult("rolled back before", version, path, reason)
    return None


def _orphan(candidate: Candidate, state: LedgerState, folders: VersionFolders, digest: Digest) -> int | None:
    # Only one above all that were recorded can be a push that was killed before its record.
    for version in reversed(unrecorded(state, folders)):
        folder = folders.folder(version)
        if folder is None or version <= max(state.entries, default=0):
            continue
        if version in folders.visible and version != folders.served:
            continue
        if _holds(folder, candidate, digest):
            return version
    return None


def _holds(folder: Path, candidate: Candidate, digest: Digest) -> bool:
    try:
        return digest(folder) == candidate.digest
    except Exception:  # Whatever TensorFlow raises for a folder that is no SavedModel, it is not this model.
        return False


@contextlib.contextmanager
def _sole_pusher(base_path: Path) -> Iterator[None]:
    # Whoever holds this is the only one to write temporary folders, so those that are there were left by a kill.
    lock = filelock.FileLock(base_path / ".push.lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except filelock.Timeout:
        raise ReleaseError(
            f"{base_path}: another process has been pushing there for {LOCK_SECONDS:.0f} s",
            hint="wait for it, or end it; a killed push leaves no lock",
        ) from None
    try:
        remove_temporaries(base_path)
        yield
    finally:
        lock.release()


def _event(release: _Release, path: Path, reason: str | None = None) -> LedgerEvent:
    return LedgerEvent(
        event="pushed",
        version=int(path.name),
        run_id=release.candidate.run_id,
        model_digest=release.candidate.digest,
        verdict="pushed",
        who=os_user(),
        when=utc_now(),
        reason=reason,
        model_uri=release.candidate.uri,
        path=str(path.absolute()),
        endpoint=release.endpoint,
    )


def _copy_durably(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _copy_durably(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)
            with open(target / path.name, "rb") as file:
                os.fsync(file.fileno())
    sync_folder(target)
