"""Conveyor: a production TFX pipeline that you configure instead of write.

`from conveyor import Line` is for notebooks and scripts; the command line is `conveyor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conveyor.research.line import Line as Line

__version__ = "0.1.0"
__all__ = ["Line", "__version__"]


def __getattr__(name: str) -> Any:
    # The command line and the set-up import this package, and need nothing of it.
    if name == "Line":
        from conveyor.research.line import Line

        return Line
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
