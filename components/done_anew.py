"""Whether an execution is to do its work anew, also where it remembers what came out before."""

from __future__ import annotations

from typing import Any


def done_anew(context: Any) -> bool:
    """Returns whether a component was forced: its node is one that ML Metadata's cache does not answer.

    Args:
        context: the executor's context, or None. Without a node in it, as in a step of a compiled pipeline, nothing
            was forced.
    """
    node = context.pipeline_node if context is not None else None
    return node is not None and not node.execution_options.caching_options.enable_cache
