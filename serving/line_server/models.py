"""The versions of a line that a server has loaded: those that the release ledger wants, within a second."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from schema.errors import ConveyorError
from serving.ledger import Ledger
from serving.ledger_following import LINGER_SECONDS, file_identity, not_servable
from serving.model_server.errors import Code, ServingError
from serving.model_server.loading import LoadOptions
from serving.model_server.manager import Manager, State
from serving.model_server.model_config import ModelConfig, ServerModels, Specific
from serving.model_server.source import aspired_versions
from serving.signing.trust import Trust, claimed_key
from serving.traffic import Split, split_of

LOOK_SECONDS = 0.25
"""How long until a new line of the ledger is seen."""

_log = logging.getLogger(__name__)


class LineModels:
    """Keeps a manager's versions and labels what the ledger says.

    A version gets requests once it is available, and the one before keeps them until then: also when it fails to load,
    and when a rollback has renamed its folder.

    Args:
        line: the line's name, which is the model's.
        base_path: the model base path, absolute; it need not be there yet.
        ledger: the release ledger.
        verify: whether a version is loaded only if its model digest is the ledger's.
        trust: whose signature a version must have to be loaded, or None where it needs none.
    """

    def __init__(
        self, line: str, base_path: Path, ledger: Ledger, *, verify: bool = True, trust: Trust | None = None
    ) -> None:
        self._line = line
        self._base_path = base_path
        self._ledger = ledger
        self._trust = trust
        self._folders: dict[int, Path] = {}
        self._split = Split(line)
        self._wanted = Split(line)
        self._seen: object = None
        self._unload_at: float | None = None
        self._stopping = threading.Event()
        self.manager = Manager(
            self._config((), {}),
            # What cannot be loaded is tried again when the ledger changes, not in a minute.
            load_options=LoadOptions(
                max_num_load_retries=0,
                # The files that are signed are those that have the digest.
                verify=self._verify if verify and trust is None else None,
                opened=None if trust is None else self._signed_copy,
            ),
            # The ledger says when to look: between its line and the renamed folder, a look would find neither version.
            file_system_poll_wait_seconds=0,
            aspire=self._aspired,
        )
        self._follower = threading.Thread(target=self._follow, name="ledger", daemon=True)

    @property
    def split(self) -> Split:
        """How requests are split now."""
        return self._split

    def start(self) -> None:
        """Loads what the ledger wants, and follows it from then on.

        Raises:
            ReleaseError: the ledger is damaged, or the live version cannot be loaded.
        """
        self.manager.start()
        self._look()
        if self._split.stable is None and self._wanted.stable is not None:
            raise not_servable(self._wanted.stable, self._why(self._wanted.stable), f"{self._base_path}: ")
        self._follower.start()

    def stop(self) -> None:
        """Stops to follow, and unloads all versions once their requests are done."""
        self._stopping.set()
        if self._follower.ident is not None:
            self._follower.join()
        self.manager.stop()

    def _follow(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self._look()
            except ConveyorError as error:
                _log.error("The release ledger is not followed: %s", error)
            except Exception:
                _log.exception("The release ledger is not followed")

    def _look(self) -> None:
        if self._unload_at is not None and time.monotonic() > self._unload_at:
            self._unload_at = None
            self.manager.reload(self._config(self._split.versions, self._split.labels))
        seen = file_identity(self._ledger.path)
        if seen == self._seen:
            return
        self._seen = seen
        self._wanted = split_of(self._line, self._ledger.state())
        if self._wanted != self._split:
            self._lead_to(self._wanted)

    def _lead_to(self, split: Split) -> None:
        """Loads what a split needs, and leads requests by it as far as that is available."""
        loaded = {version for version in self._states() if self._available(version)}
        both = tuple(sorted({*loaded, *split.versions}))
        self.manager.reload(self._config(both, self._split.labels))
        self._await(split.versions)
        missing = [version for version in split.versions if not self._available(version)]
        for version in missing:
            _log.error("Version %s of %s cannot be served. %s", version, self._line, self._why(version))
        if split.stable in missing or split.canary in missing:
            _log.error("Requests stay with version %s, label by label %s", self._split.stable, self._split.labels)
            return
        self.manager.reload(self._config(both, split.labels))
        self._split = split
        self._unload_at = time.monotonic() + LINGER_SECONDS
        _log.info("Requests are led to %s", split)

    def _await(self, versions: tuple[int, ...]) -> None:
        """Waits until versions are available or cannot be. A folder is renamed after the ledger has its line."""
        deadline = time.monotonic() + LINGER_SECONDS
        while not self._stopping.is_set():
            states = self._states()
            open_ends = [v for v in versions if states.get(v) not in (State.AVAILABLE, State.END)]
            unseen = [version for version in open_ends if version not in states]
            if not open_ends or (unseen and time.monotonic() > deadline):
                return
            if unseen:
                self.manager.poll()
            self._stopping.wait(0.02)

    def _aspired(self, config: ModelConfig) -> dict[int, Path] | None:
        found = aspired_versions(config) or {}
        self._folders.update(found)
        assert isinstance(config.policy, Specific)
        return {v: self._folders[v] for v in sorted(config.policy.versions) if v in self._folders}

    def _config(self, versions: tuple[int, ...], labels: dict[str, int]) -> ServerModels:
        return ServerModels((ModelConfig(self._line, str(self._base_path), policy=Specific(versions), labels=labels),))

    def _states(self) -> dict[int, State]:
        try:
            return {status.version: status.state for status in self.manager.statuses(self._line)}
        except ServingError:
            return {}

    def _available(self, version: int) -> bool:
        return self._states().get(version) is State.AVAILABLE

    def _why(self, version: int) -> str:
        try:
            return self.manager.statuses(self._line, version)[0].message
        except ServingError:
            return f"It has no folder {self._base_path / str(version)}"

    @contextlib.contextmanager
    def _signed_copy(self, name: str, version: int, folder: Path) -> Iterator[Path]:
        """Gives a copy that nobody else can change between the check and the loading."""
        assert self._trust is not None
        with tempfile.TemporaryDirectory(prefix="conveyor-") as private:
            copy = Path(private)
            self._trust.check(folder, self._ledger.state(), version, copy)
            _log.info("Version %s of %s is signed by key %s", version, name, claimed_key(folder))
            yield copy

    def _verify(self, name: str, version: int, folder: Path) -> None:
        from serving.model_digest import model_digest

        entry = self._ledger.state().entries.get(version)
        expected = entry.pushed.model_digest if entry else None
        found = model_digest(folder)
        if found != expected:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"{folder}: version {version} of {name} must be the model that was released, digest {expected}. "
                f"Got {found} instead; restore the folder, or serve it with --no-verify",
            )
