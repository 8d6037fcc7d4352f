"""Which component needs which, known without TFX: options are checked before anything is imported or looked at."""

from __future__ import annotations

import difflib

from schema.errors import UsageError
from schema.orchestration import NODES

UPSTREAM: dict[str, tuple[str, ...]] = {
    "SpanExampleGen": (),
    "SpanStatisticsGen": ("SpanExampleGen",),
    "CuratedSchemaGen": ("SpanStatisticsGen",),
    "SpanExampleValidator": ("CuratedSchemaGen", "SpanStatisticsGen"),
    "DataGate": ("CuratedSchemaGen", "SpanExampleGen", "SpanExampleValidator", "SpanStatisticsGen"),
    "Transform": ("CuratedSchemaGen", "DataGate"),
    "Tuner": ("CuratedSchemaGen", "DataGate", "Transform"),
    "Trainer": ("CuratedSchemaGen", "DataGate", "Transform", "Tuner"),
    "baseline": ("Trainer",),
    "Evaluator": ("DataGate", "Trainer", "baseline"),
    "InfraValidator": ("DataGate", "Trainer"),
    "Pusher": ("Evaluator", "InfraValidator", "SpanExampleGen", "Trainer"),
}
"""Node to the nodes whose outputs it takes."""

_LOOKS_ANEW = "baseline"
"""It does not depend on data, code or config but on what is served, which every evaluation has to ask anew."""


def check_component(option: str, name: str) -> None:
    """Checks that an option names a component.

    Raises:
        UsageError: there is no such component.
    """
    if name in NODES:
        return
    lower = {node.casefold(): node for node in NODES}
    near = difflib.get_close_matches(name.casefold(), lower, n=1)
    raise UsageError(
        f"{option} must be one of {', '.join(NODES)}. Got {name!r} instead",
        hint=f"did you mean {lower[near[0]]}?" if near else "`conveyor show` lists what a run had",
    )


def ancestors(node: str) -> frozenset[str]:
    """Returns the nodes whose outputs a node depends on, directly or not."""
    found: set[str] = set()
    todo = [node]
    while todo:
        for above in UPSTREAM[todo.pop()]:
            if above not in found:
                found.add(above)
                todo.append(above)
    return frozenset(found)


def taken_before(component: str) -> tuple[str, ...]:
    """Returns the nodes whose artifacts a run from `component` on takes as they are, in the order of the DAG."""
    taken = ancestors(component)
    if not any(_LOOKS_ANEW in UPSTREAM[node] for node in taken):
        taken -= {_LOOKS_ANEW}
    return tuple(node for node in NODES if node in taken)
