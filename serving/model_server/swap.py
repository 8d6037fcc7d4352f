"""What a model's versions do next, so that a new version serves before the old one goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from serving.model_server.version_state import State


class Managed(NamedTuple):
    """A version that the manager holds.

    Attributes:
        version: its number.
        state: its state; `END` only when its load has failed.
        aspired: it is to be served.
    """

    version: int
    state: State
    aspired: bool


class Action(NamedTuple):
    """What is to be done with which version."""

    kind: Literal["load", "unload"]
    version: int


def next_action(versions: Iterable[Managed]) -> Action | None:
    """Returns what is to be done now for one model, or None.

    A version that is not aspired any more goes when an aspired one is available, when none is aspired at all, or when
    others that are not aspired are available too; lowest first. Otherwise the highest new one is loaded.
    """
    versions = list(versions)
    aspired = [v for v in versions if v.aspired]
    leaving = [v.version for v in versions if not v.aspired and v.state is State.AVAILABLE]
    if leaving and (not aspired or len(leaving) > 1 or any(v.state is State.AVAILABLE for v in aspired)):
        return Action("unload", min(leaving))
    new = [v.version for v in aspired if v.state is State.START]
    return Action("load", max(new)) if new else None
