"""What a run made against what its rebuild made: identity by identity, and where the first difference arises."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.comparison import differences
from pipeline.identities import Made
from schema.orchestration import NODES

_BLESSING = ("Evaluator", "blessing")


@dataclasses.dataclass(frozen=True)
class Compared:
    """An artifact that is, or is not, what it was.

    Attributes:
        name: what people call it.
        node: the component that made it.
        parts: how many parts it has, in either run.
        differing: the parts that are not equal, or that only one of the two has.
        original: its folder in the run, which need not be there any more.
        rebuilt: its folder in the rebuild, or None where the rebuild has none.
    """

    name: str
    node: str
    parts: int
    differing: tuple[str, ...]
    original: str
    rebuilt: str | None

    @property
    def equal(self) -> bool:
        """Whether all of it is equal."""
        return not self.differing


def compare_made(original: Sequence[Made], rebuilt: Sequence[Made]) -> list[Compared]:
    """Returns each artifact that either run made, in the order of the pipeline.

    Args:
        original: what the run made.
        rebuilt: what its rebuild made.
    """
    there = {(made.node, made.key, made.index): made for made in rebuilt}
    known = {(made.node, made.key, made.index) for made in original}
    found = []
    for made in original:
        again = there.get((made.node, made.key, made.index))
        other = again.parts if again else {}
        differing = sorted(name for name in {*made.parts, *other} if made.parts.get(name) != other.get(name))
        if again is None and not differing:
            differing = ["all of it"]
        found.append(
            Compared(
                made.name,
                made.node,
                len({*made.parts, *other}),
                tuple(differing),
                made.uri,
                again.uri if again else None,
            )
        )
    for made in rebuilt:
        if (made.node, made.key, made.index) not in known:
            found.append(Compared(made.name, made.node, len(made.parts), tuple(made.parts), "", made.uri))
    order = {node: place for place, node in enumerate(NODES)}
    return sorted(found, key=lambda one: order.get(one.node, len(order)))


def blessing_of(made: Sequence[Made]) -> dict[str, str]:
    """Returns the parts of the Evaluator's blessing, none where it gave none."""
    return next((one.parts for one in made if (one.node, one.key) == _BLESSING), {})


def without_verdict(made: Sequence[Made]) -> list[Made]:
    """Returns what a run made but for what says whether its model was blessed, and where it was put on that account."""
    return [one for one in made if (one.node, one.key) != _BLESSING and one.node != "Pusher"]


def compare_metrics(original: Sequence[Mapping[str, Any]], rebuilt: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns which metrics of which slices differ, a sentence each; what a baseline had does not count.

    Args:
        original: a row a slice, as a run's record has them.
        rebuilt: likewise.
    """
    one, two = (
        {row["slice"]: {"examples": row["examples"], **row["metrics"]} for row in rows} for rows in (original, rebuilt)
    )
    return [
        f"{name} in {slice_name}: {before} -> {after}"
        for slice_name in dict.fromkeys([*one, *two])
        for name, (before, after) in differences(one.get(slice_name, {}), two.get(slice_name, {})).items()
        if name
    ]
