"""The states of a model version, as GetModelStatus names them."""

from __future__ import annotations

import dataclasses
import enum

from serving.model_server.errors import Code


class State(enum.IntEnum):
    """Numbered as `ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What is known of one version.

    Attributes:
        version: its number.
        state: its state.
        code: `OK`, or why it is in `END`.
        message: the error's message; empty when there is none.
    """

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""

    def __str__(self) -> str:
        error = "" if self.code is Code.OK else f" ({self.code.name}: {self.message})"
        return f"version {self.version}: {self.state.name}{error}"
