"""The models of a server over their whole life: found, loaded, handed out, swapped and unloaded."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from serving.model_server import memory
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.loading import LoadOptions, load
from serving.model_server.model_config import ModelConfig, ServerModels
from serving.model_server.source import BasePaths
from serving.model_server.version_state import State, VersionStatus
from serving.model_server.versions import HeldVersion, Lease, Observe, VersionTable

__all__ = ["Lease", "Manager", "ModelSpecQuery", "State", "VersionStatus"]

_log = logging.getLogger(__name__)


class Manager:
    """Serves the models of a config. Safe to use from several threads.

    Args:
        config: the models.
        load_options: how versions are loaded.
        file_system_poll_wait_seconds: seconds between looks at the base paths; not positive: only at the start and at
            a reload.
        num_load_threads: versions that are loaded at the same time, after the start; 0 counts as 1. At the start there
            are four a CPU, as in TensorFlow Serving.
        allow_version_labels_for_unavailable_models: a new label may be given to a version that is not available.
        force_allow_any_version_labels_for_unavailable_models: any label may.
        observe: is told every change of state; under the manager's lock, so it must be quick.
        aspire: finds the versions of a model that are to be served; by default those that its policy asks for.
    """

    def __init__(
        self,
        config: ServerModels,
        *,
        load_options: LoadOptions | None = None,
        file_system_poll_wait_seconds: float = 1,
        num_load_threads: int = 0,
        allow_version_labels_for_unavailable_models: bool = False,
        force_allow_any_version_labels_for_unavailable_models: bool = False,
        observe: Observe | None = None,
        aspire: Callable[[ModelConfig], dict[int, Path] | None] | None = None,
    ) -> None:
        self._config = config
        self._aspire = aspire or BasePaths()
        self._load_options = load_options or LoadOptions()
        self._poll_seconds = file_system_poll_wait_seconds
        self._max_loads = max(num_load_threads, 1)
        self._allow_new_labels = allow_version_labels_for_unavailable_models
        self._allow_any_labels = force_allow_any_version_labels_for_unavailable_models
        self._table = VersionTable(observe)
        self._labels: dict[str, dict[str, int]] = {}
        self._config_lock = threading.RLock()
        self._stopping = threading.Event()
        self._starting = True
        self._controller = threading.Thread(target=self._control, name="model-manager", daemon=True)
        self._poller = threading.Thread(target=self._poll_for_ever, name="model-source", daemon=True)

    @property
    def config(self) -> ServerModels:
        """The config now in force."""
        return self._config

    @property
    def ready(self) -> bool:
        """Whether a version of each model is available."""
        return not self._starting and not self._stopping.is_set() and all(map(self._table.available, self.models()))

    def models(self) -> list[str]:
        """Returns the models' names."""
        return [model.name for model in self._config.models]

    def labels(self, name: str) -> dict[str, int]:
        """Returns a model's version labels."""
        return dict(self._labels.get(name, {}))

    def start(self, *, wait_for_versions: bool = False) -> None:
        """Loads the models. Returns when each version that is to be served is AVAILABLE or in END, or at `stop`.

        Args:
            wait_for_versions: wait too for the first version of a model that has none yet, as TensorFlow Serving does.

        Raises:
            ServingError: FAILED_PRECONDITION; a label is given to a version that is not available.
        """
        with self._config_lock:
            self._labels = self._checked_labels(self._config)
        self._controller.start()
        self.poll()
        if self._poll_seconds > 0:
            self._poller.start()
        self._wait(self.models, empty_is_settled=not wait_for_versions)
        self._starting = False

    def stop(self, timeout: float | None = None) -> bool:
        """Unloads all models, each once its leases have ended. Nothing is handed out any more.

        Args:
            timeout: seconds to wait, or None for as long as it takes.

        Returns:
            Whether everything is unloaded.
        """
        self._stopping.set()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._config_lock:
            for name in self._table.wanted_models():
                self._table.want(name, {})
        with self._table.changed:
            self._table.changed.notify_all()
        for thread in (self._poller, self._controller):
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(None if deadline is None else max(deadline - time.monotonic(), 0))
        return self._table.empty()

    def acquire(self, query: ModelSpecQuery) -> Lease:
        """Hands out a servable: the highest available version unless the query says which.

        Returns:
            A context manager; the servable stays loaded until it ends.

        Raises:
            ServingError: NOT_FOUND; INVALID_ARGUMENT for an unknown label; UNAVAILABLE after `stop`.
        """
        name, version = query.name, query.version
        if query.label is not None:
            version = self._labels.get(name, {}).get(query.label)
            if version is None:
                raise ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {query.label}")
        lease = self._table.lease(name, version)
        if lease is not None:
            return lease
        if self._stopping.is_set():
            raise ServingError(Code.UNAVAILABLE, "The server is shutting down")
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Returns what is known of a model's versions, those that are gone too; newest first.

        Args:
            name: the model's name.
            version: the only version to tell of, or None for all.

        Raises:
            ServingError: NOT_FOUND.
        """
        statuses = self._table.statuses(name)
        if version is not None:
            statuses = [status for status in statuses if status.version == version]
        if not statuses:
            what = "any versions" if version is None else f"version {version}"
            raise ServingError(Code.NOT_FOUND, f"Could not find {what} of model {name}")
        return statuses

    def reload(self, config: ServerModels, *, wait_for_versions: bool = False) -> None:
        """Replaces the config: models come, go, or change their policy and their labels.

        Labels are checked first, against the versions available now; a config with a wrong one changes nothing.

        Args:
            config: the new config.
            wait_for_versions: see `start`.

        Raises:
            ServingError: FAILED_PRECONDITION, a label is given to a version that is not available; UNKNOWN, a new
                model could not be loaded (the new config is in force nevertheless); UNAVAILABLE, the server stops.
        """
        if config.unset:
            _log.info("Taking no action for empty config.")
            return
        with self._config_lock:
            if self._stopping.is_set():
                raise ServingError(Code.UNAVAILABLE, "The server is shutting down")
            labels = self._checked_labels(config)
            added = {model.name for model in config.models} - set(self.models())
            for name in self._table.wanted_models() - {model.name for model in config.models}:
                self._table.want(name, {})
            self._config, self._labels = config, labels
            self.poll()
        self._wait(lambda: added.intersection(self.models()), empty_is_settled=not wait_for_versions)
        self.check_available(sorted(added), "model(s)")

    def check_available(self, names: Iterable[str], kind: str = "servable(s)") -> None:
        """Raises what TensorFlow Serving does when models have failed to load.

        Args:
            names: the models to look at. One that has no versions yet is no failure.
            kind: what the message calls them.

        Raises:
            ServingError: UNKNOWN; with each model's error.
        """
        failed = []
        wanted = self._table.wanted_models()
        for name in names:
            reached = [s for s in self._table.statuses(name) if s.state in (State.AVAILABLE, State.END)]
            if reached and name in wanted and not self._table.available(name):
                error = f" due to error: {reached[0].code.name}: {reached[0].message}" if reached[0].code else ""
                failed.append(f"{{{{name: {name} version: {reached[0].version}}}{error}}}, ")
        if failed:
            message = f"{len(failed)} {kind} did not become available: {{{''.join(failed)}}}"
            raise ServingError(Code.UNKNOWN, message)

    def poll(self) -> None:
        """Looks at the base paths now."""
        with self._config_lock:
            if self._stopping.is_set():
                return
            for model in self._config.models:
                versions = self._aspire(model)
                if versions is not None:
                    self._table.want(model.name, versions)

    def _checked_labels(self, config: ServerModels) -> dict[str, dict[str, int]]:
        for model in config.models:
            for label, version in model.labels.items():
                if not self._may_have(model, label, version):
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {model.name}, which is not currently "
                        "available for inference",
                    )
        return {model.name: dict(model.labels) for model in config.models if model.labels}

    def _may_have(self, model: ModelConfig, label: str, version: int) -> bool:
        if self._allow_any_labels or self._table.available(model.name, version):
            return True
        return self._allow_new_labels and self._labels.get(model.name, {}).get(label, version) == version

    def _wait(self, names: Callable[[], Iterable[str]], *, empty_is_settled: bool) -> None:
        with self._table.changed:
            self._table.changed.wait_for(
                lambda: (
                    self._stopping.is_set()
                    or all(self._table.settled(name, empty_is_settled=empty_is_settled) for name in names())
                )
            )

    def _poll_for_ever(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self.poll()
            except Exception:
                _log.exception("The base paths could not be looked at; the next look is in %s s", self._poll_seconds)

    def _control(self) -> None:
        while True:
            with self._table.changed:
                actions = list(self._table.actions(4 * (os.cpu_count() or 1) if self._starting else self._max_loads))
                if not actions:
                    if self._stopping.is_set() and self._table.empty():
                        return
                    self._table.changed.wait()
                    continue
            for kind, held in actions:
                work = self._load if kind == "load" else self._unload
                try:
                    threading.Thread(target=work, args=(held,), name=f"{kind}-{held.name}", daemon=True).start()
                except RuntimeError:
                    _log.exception("No thread could be started to %s model %s; doing it here", kind, held.name)
                    work(held)

    def _load(self, held: HeldVersion) -> None:
        try:
            servable = load(held.name, held.version, held.path, self._load_options, held.cancelled)
        except ServingError as error:
            self._table.failed(held, error)
            return
        if not self._table.loaded(held, servable):
            servable.close()
            self._table.failed(held, ServingError(Code.CANCELLED, "Loading of servable cancelled"))

    def _unload(self, held: HeldVersion) -> None:
        try:
            if held.servable is not None:
                held.servable.close()
        except Exception:
            _log.exception("Servable %s version %s could not be closed", held.name, held.version)
        self._table.unloaded(held)
        memory.give_back()
