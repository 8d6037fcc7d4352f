"""The versions that a manager holds: in which state each is, and who is using it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

from serving.model_server.errors import Code, ServingError
from serving.model_server.servable import Servable
from serving.model_server.swap import Managed, next_action
from serving.model_server.version_state import State, VersionStatus

_log = logging.getLogger(__name__)

Observe = Callable[[str, VersionStatus], None]
"""Is told a model's name and a version's new state, in order and under a lock: it must be quick and may only ask."""


class HeldVersion:
    """One version of one model. Its attributes belong to the table's lock."""

    __slots__ = ("name", "version", "path", "state", "aspired", "servable", "leases", "closing", "cancelled")

    def __init__(self, name: str, version: int, path: Path) -> None:
        self.name = name
        self.version = version
        self.path = path
        self.state = State.START
        self.aspired = True
        self.servable: Servable | None = None
        self.leases = 0
        self.closing = False
        self.cancelled = threading.Event()


class Lease:
    """Keeps a servable from being unloaded; a context manager. It must be ended, or its version stays for ever.

    Attributes:
        servable: the servable.
    """

    __slots__ = ("servable", "_held", "_table")

    def __init__(self, table: VersionTable, held: HeldVersion, servable: Servable) -> None:
        self.servable = servable
        self._held: HeldVersion | None = held
        self._table = table

    def release(self) -> None:
        """Ends the lease. Doing so again does nothing."""
        held, self._held = self._held, None
        if held is not None:
            self._table.release(held)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class VersionTable:
    """All versions of all models. Safe to use from several threads.

    Args:
        observe: is told every change of state.

    Attributes:
        changed: is notified of every change; its lock is the table's.
    """

    def __init__(self, observe: Observe | None = None) -> None:
        self._observe = observe
        # Reentrant, so that an observer may ask the manager.
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        self._held: dict[str, dict[int, HeldVersion]] = {}
        self._wanted: dict[str, dict[int, Path]] = {}
        self._statuses: dict[str, dict[int, VersionStatus]] = {}
        self._available: dict[tuple[str, int], HeldVersion] = {}
        self._latest: dict[str, HeldVersion] = {}

    def lease(self, name: str, version: int | None) -> Lease | None:
        """Returns a lease of a version, of the highest available one for None; or None when it is not available."""
        with self._lock:
            held = self._latest.get(name) if version is None else self._available.get((name, version))
            if held is None or held.servable is None:
                return None
            held.leases += 1
            return Lease(self, held, held.servable)

    def release(self, held: HeldVersion) -> None:
        """Ends a lease."""
        with self._lock:
            held.leases -= 1
            if held.state is State.UNLOADING and not held.leases:
                self.changed.notify_all()

    def want(self, name: str, versions: Mapping[int, Path]) -> None:
        """Sets which versions of a model are to be served."""
        with self._lock:
            self._wanted[name] = dict(versions)
            self._reconcile(name)

    def wanted_models(self) -> set[str]:
        """Returns the models of which some version is to be served."""
        with self._lock:
            return {name for name, versions in self._wanted.items() if versions}

    def actions(self, max_loads: int) -> Iterator[tuple[Literal["load", "unload"], HeldVersion]]:
        """Yields what is to be done now, and marks it as begun.

        `load` is to end in `loaded` or `failed`, `unload` in `unloaded`.

        Args:
            max_loads: how many versions may be loading at a time.
        """
        with self._lock:
            for _, versions in sorted(self._held.items()):
                while action := next_action(Managed(h.version, h.state, h.aspired) for h in versions.values()):
                    held = versions[action.version]
                    if action.kind == "unload":
                        self._set(held, State.UNLOADING)
                    elif self._loading() < max_loads:
                        self._set(held, State.LOADING)
                        yield "load", held
                    else:
                        break
            for versions in self._held.values():
                for held in versions.values():
                    if held.state is State.UNLOADING and not held.leases and not held.closing:
                        held.closing = True
                        yield "unload", held

    def loaded(self, held: HeldVersion, servable: Servable) -> bool:
        """Takes in what was loaded. Returns False when it is not wanted any more; then it is to be closed."""
        with self._lock:
            if not held.aspired:
                return False
            held.servable = servable
            self._set(held, State.AVAILABLE)
            return True

    def failed(self, held: HeldVersion, error: ServingError) -> None:
        """Takes note that a load has failed."""
        with self._lock:
            self._set(held, State.END, error)
            self._reconcile(held.name)

    def unloaded(self, held: HeldVersion) -> None:
        """Takes note that a version is closed."""
        with self._lock:
            self._set(held, State.END)
            self._reconcile(held.name)

    def empty(self) -> bool:
        """Returns whether no version is held."""
        with self._lock:
            return not self._held

    def available(self, name: str, version: int | None = None) -> bool:
        """Returns whether a version, any for None, is available."""
        with self._lock:
            return name in self._latest if version is None else (name, version) in self._available

    def settled(self, name: str, *, empty_is_settled: bool) -> bool:
        """Returns whether each version of a model that is to be served is available or has failed."""
        with self._lock:
            wanted = self._wanted.get(name)
            if not wanted:
                return empty_is_settled
            held = self._held.get(name, {})
            ends = (State.AVAILABLE, State.END)
            return all(v in held and held[v].aspired and held[v].state in ends for v in wanted)

    def statuses(self, name: str) -> list[VersionStatus]:
        """Returns all versions of a model that there ever were, newest first."""
        with self._lock:
            return [status for _, status in sorted(self._statuses.get(name, {}).items(), reverse=True)]

    def _loading(self) -> int:
        return sum(h.state is State.LOADING for versions in self._held.values() for h in versions.values())

    def _reconcile(self, name: str) -> None:
        wanted, held = self._wanted.get(name, {}), self._held.setdefault(name, {})
        for version, one in list(held.items()):
            if version not in wanted:
                one.aspired = False
                one.cancelled.set()
                if one.state is State.START:
                    self._set(one, State.END)
            elif one.state is State.AVAILABLE:
                one.aspired = True
            if one.state is State.END and (not one.aspired or one.closing):
                del held[version]
        for version, path in sorted(wanted.items()):
            if version not in held:
                held[version] = HeldVersion(name, version, path)
                self._set(held[version], State.START)
        if not held:
            del self._held[name]
        self.changed.notify_all()

    def _set(self, held: HeldVersion, state: State, error: ServingError | None = None) -> None:
        held.state = state
        if state is State.AVAILABLE:
            self._available[held.name, held.version] = held
        elif self._available.get((held.name, held.version)) is held:
            del self._available[held.name, held.version]
        candidates = [h for (name, _), h in self._available.items() if name == held.name]
        if candidates:
            self._latest[held.name] = max(candidates, key=lambda h: h.version)
        else:
            self._latest.pop(held.name, None)
        if state is State.END:
            held.servable = None
        code, message = (error.code, error.message) if error else (Code.OK, "")
        status = VersionStatus(held.version, state, code, message)
        self._statuses.setdefault(held.name, {})[held.version] = status
        (_log.error if error else _log.info)("Servable %s %s", held.name, status)
        if self._observe is not None:
            try:
                self._observe(held.name, status)
            except Exception:
                _log.exception("The observer of model states failed; the models are served all the same")
        self.changed.notify_all()
