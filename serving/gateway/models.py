"""The versions of a line that the server behind the gateway has, and the requests that are led to them.

The release ledger says what is wanted. Requests are led to a version once the server has it, and to the one before
until then. Where the gateway writes the server's model config, it asks for the new versions beside the old ones first,
moves the labels when they are there, and lets go of the old ones last: TensorFlow Serving takes no label for a version
that is still to be loaded, nor anything else of a config with such a label in it.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from pathlib import Path
from typing import Any

from schema.errors import ConveyorError, ReleaseError
from serving.base_path import scan
from serving.gateway.digests import Digests
from serving.gateway.model_config_file import ModelConfigFile
from serving.gateway.upstream import UpstreamClient
from serving.ledger import Ledger
from serving.ledger_following import LINGER_SECONDS, file_identity, not_servable
from serving.model_server.errors import Code, ServingError
from serving.model_server.version_state import State, VersionStatus
from serving.traffic import Split, split_of

LOOK_SECONDS = 0.2
"""How long until a new line of the ledger, or a new state of the server, is seen."""

PATIENCE_SECONDS = 5.0
"""How long requests wait for a version after the server has had one: it can be without for a moment in a rollback."""

OFFER_SECONDS = 1.0
"""How long until a model config that the server has refused is given to it again."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Written:
    """What a gateway needs in order to lead the server itself.

    Attributes:
        file: the server's model config file.
        base_path: the model base path, as the gateway sees it.
        digests: says which versions may be served, or None where all may.
        alone: whether nobody else may tell the server what to load.
    """

    file: ModelConfigFile
    base_path: Path
    digests: Digests | None
    alone: bool = False


class UpstreamModels:
    """Follows the ledger and the server.

    Args:
        line: the line's name, which is the model's.
        ledger: the release ledger.
        client: asks the server.
        written: for a server that is led by its model config file; None for one that finds its versions itself.

    Attributes:
        line: the line's name.
    """

    def __init__(self, line: str, ledger: Ledger, client: UpstreamClient, written: Written | None = None) -> None:
        self.line = line
        self._ledger = ledger
        self._client = client
        self._written = written
        self._split = Split(line)
        self._wanted = Split(line)
        self._seen: object = self
        self._kept: set[int] = set()
        self._states: dict[int, VersionStatus] = {}
        self._reached = False
        self._ready_at: float | None = None
        self._unload_at: float | None = None
        self._complain_at = 0.0
        self._taken: Any = None
        self._offered: Any = None
        self._offer_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="ledger", daemon=True)

    @property
    def split(self) -> Split:
        """How requests are split now."""
        return self._split

    @property
    def ready(self) -> bool:
        """Whether the server has answered just now, and has what requests are led to."""
        if not self._reached or self._split.stable is None:
            return self._reached and self._wanted.stable is None and self.newest is not None
        return self._available(self._split.stable)

    @property
    def settling(self) -> bool:
        """Whether a version that the server has not is likely to be there in a moment."""
        return self._ready_at is not None and time.monotonic() - self._ready_at < PATIENCE_SECONDS

    @property
    def alone(self) -> bool:
        """Whether nobody else may tell the server what to load."""
        return self._written is not None and self._written.alone

    @property
    def newest(self) -> int | None:
        """The highest version that the server had available when it was asked last."""
        return max((v for v in self._states if self._available(v)), default=None)

    def prepare(self) -> None:
        """Writes the model config before the server is there, which may read it at its start only.

        Raises:
            ReleaseError: the ledger is damaged, or the live version is not the model that was released.
        """
        self._read_ledger()
        if self._written is None:
            return
        if self._written.digests is not None:
            self._written.digests.look()
            self._written.digests.start()
            live = self._wanted.stable
            if live is not None and (objection := self._written.digests.objection(live)):
                raise not_servable(live, objection)
        self._configure()

    def start(self) -> None:
        """Starts to follow the ledger and the server."""
        if not self._stopping.is_set():
            self._thread.start()

    def wait(self) -> None:
        """Waits until requests can be led to the live version, if there is one, or until `stop`.

        Raises:
            ReleaseError: the server cannot serve it.
        """
        while not self._stopping.wait(0.05):
            live = self._wanted.stable
            if self._reached and (live is None or self.ready):
                return
            if live is not None and (why := self._failed(live)):
                raise not_servable(live, why)

    def stop(self) -> None:
        """Stops to follow."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._written is not None and self._written.digests is not None:
            self._written.digests.stop()

    def _follow(self) -> None:
        while True:
            try:
                self.look()
            except ConveyorError as error:
                _log.error("The release ledger is not followed: %s", error)
            except Exception:
                _log.exception("The release ledger is not followed")
            if self._stopping.wait(LOOK_SECONDS):
                return

    def look(self) -> None:
        """Looks at the ledger and the server once, and does what follows from it.

        Raises:
            ReleaseError: the ledger is damaged.
        """
        self._read_server()
        self._read_ledger()
        self._configure()
        self._lead()
        self._configure()

    def _read_ledger(self) -> None:
        seen = file_identity(self._ledger.path)
        if seen != self._seen:
            self._seen = seen
            self._wanted = split_of(self.line, self._ledger.state())
            self._complain_at = time.monotonic() + LINGER_SECONDS

    def _read_server(self) -> None:
        try:
            found = self._client.statuses(self.line)
        except ServingError as error:
            # A server without this method is there all the same.
            self._reached = error.code not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
            self._states = {}
            if not self._reached:
                # It may come back as another.
                self._taken = self._offered = None
        else:
            self._states = {status.version: status for status in found}
            self._reached = True
        if self.ready:
            self._ready_at = time.monotonic()

    def _configure(self) -> None:
        """Tells the server which versions to load."""
        written = self._written
        if written is None:
            return
        if self._unload_at is not None and time.monotonic() > self._unload_at:
            self._unload_at = None
            self._kept = set(self._split.versions)
        if not self._kept.issuperset(self._wanted.versions):
            there = scan(written.base_path).visible
            self._kept |= {v for v in self._wanted.versions if v in there and self._approved(v)}
        labels = {label: version for label, version in self._split.labels.items() if version in self._kept}
        try:
            config = written.file.write(self._kept, labels)
        except OSError as error:
            raise ReleaseError(
                f"{written.file.path} must be a file that can be written. Got {error.strerror} instead",
                hint="TensorFlow Serving reads it; give the gateway's user access to its folder",
            ) from error
        if self._reached and config != self._taken and (config != self._offered or time.monotonic() > self._offer_at):
            self._offer(config)

    def _offer(self, config: Any) -> None:
        """Gives the server its model config. It looks at the file once a second; this is sooner."""
        self._offered, self._offer_at = config, time.monotonic() + OFFER_SECONDS
        try:
            self._client.reload(config)
        except ServingError as error:
            if error.code is not Code.DEADLINE_EXCEEDED:
                _log.warning("The server has not taken its new model config yet: %s", error.message)
                return
        self._taken = config

    def _lead(self) -> None:
        """Leads requests by what is wanted, as far as the server has it."""
        wanted = self._wanted
        if wanted.shadow is not None and not self._servable(wanted.shadow):
            wanted = dataclasses.replace(wanted, shadow=None, shadow_share=0.0)
        answering = {v for v in (wanted.stable, wanted.canary) if v is not None}
        if wanted != self._split and self._reached and all(map(self._servable, answering)):
            self._split = wanted
            self._ready_at = time.monotonic()
            self._unload_at = self._ready_at + LINGER_SECONDS
            _log.info("Requests are led to %s", wanted)
        if self._split != self._wanted and self._reached and time.monotonic() > self._complain_at:
            self._complain_at = float("inf")
            for version in self._wanted.versions:
                if not self._servable(version):
                    _log.error("Version %s of %s is not served. %s", version, self.line, self._why(version))

    def _servable(self, version: int) -> bool:
        return self._available(version) and self._approved(version)

    def _available(self, version: int) -> bool:
        status = self._states.get(version)
        return status is not None and status.state is State.AVAILABLE

    def _approved(self, version: int) -> bool:
        digests = self._written.digests if self._written is not None else None
        return digests is None or digests.objection(version) == ""

    def _failed(self, version: int) -> str:
        """Returns why a version will not be there, or an empty text."""
        digests = self._written.digests if self._written is not None else None
        objection = digests.objection(version) if digests is not None else None
        status = self._states.get(version)
        if not objection and status is not None and status.state is State.END and status.code is not Code.OK:
            return status.message
        return objection or ""

    def _why(self, version: int) -> str:
        if why := self._failed(version):
            return why
        if self._written is None:
            return (
                "The server has not got it: it must serve the base path with a policy that takes in this version, or "
                "the gateway must lead it, with --model-config"
            )
        if version not in scan(self._written.base_path).visible:
            return f"It has no folder {self._written.base_path / str(version)}"
        return "The server has not loaded it yet"
