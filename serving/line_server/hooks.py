"""What a server of a line does around each prediction: canary before it, capture and shadow after it."""

from __future__ import annotations

from typing import Protocol

from serving.capture.hook import CaptureHook
from serving.line_server.shadow import Shadow
from serving.model_server.hooks import Exchange, ModelSpecQuery
from serving.traffic import Split


class Led(Protocol):
    """The versions of a line that answer requests: of the embedded server, or of one behind the gateway."""

    @property
    def split(self) -> Split:
        """How requests are split now."""
        ...


class LineHooks:
    """See `serving.model_server.hooks.Hooks`.

    Args:
        line: the line's name.
        models: knows how requests are split.
        capture: keeps exchanges, or None.
        shadow: gets copies.
    """

    def __init__(self, line: str, models: Led, capture: CaptureHook | None, shadow: Shadow) -> None:
        self._line = line
        self._models = models
        self._capture = capture
        self._shadow = shadow

    def route(self, query: ModelSpecQuery, caller_key: str, request_id: str) -> ModelSpecQuery:
        """Chooses the version for a request that names neither version nor label."""
        if query.version is not None or query.label is not None or query.name != self._line:
            return query
        version = self._models.split.version_for(caller_key, request_id)
        return query if version is None else ModelSpecQuery(query.name, version)

    def done(self, exchange: Exchange) -> None:
        """Keeps an exchange, and gives the shadow a copy where it is to have one."""
        if self._capture is not None:
            self._capture.done(exchange)
        split = self._models.split
        answered = exchange.version not in (None, split.shadow)
        if split.shadow is not None and answered and split.is_shadowed(exchange.request_id):
            self._shadow.put(exchange, split.shadow)
