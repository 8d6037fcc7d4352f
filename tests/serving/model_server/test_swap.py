"""What the versions of a model do next: one step by hand, then every history there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.swap import Action, Managed, next_action
from serving.model_server.version_state import State

START, LOADING, AVAILABLE, UNLOADING, END = State


@pytest.mark.parametrize(
    ("versions", "action"),
    [
        ([], None),
        ([Managed(1, START, True)], Action("load", 1)),
        ([Managed(1, START, True), Managed(2, START, True)], Action("load", 2)),
        ([Managed(1, LOADING, True)], None),
        ([Managed(1, AVAILABLE, True)], None),
        # The new one first, then the old one goes.
        ([Managed(1, AVAILABLE, False), Managed(2, START, True)], Action("load", 2)),
        ([Managed(1, AVAILABLE, False), Managed(2, LOADING, True)], None),
        ([Managed(1, AVAILABLE, False), Managed(2, AVAILABLE, True)], Action("unload", 1)),
        # The new one has failed: the old one goes on serving.
        ([Managed(1, AVAILABLE, False), Managed(2, END, True)], None),
        # Nothing is to be served.
        ([Managed(1, AVAILABLE, False), Managed(2, END, False)], Action("unload", 1)),
        # One is enough until the new one is there.
        ([Managed(1, AVAILABLE, False), Managed(2, AVAILABLE, False), Managed(3, LOADING, True)], Action("unload", 1)),
        # Room for the next one is made before it is loaded.
        (
            [Managed(1, AVAILABLE, False), Managed(2, AVAILABLE, True), Managed(3, START, True)],
            Action("unload", 1),
        ),
    ],
)
def test_next_action(versions: list[Managed], action: Action | None) -> None:
    assert next_action(versions) == action
    assert next_action(reversed(versions)) == action


@given(st.lists(st.builds(Managed, st.integers(0, 9), st.sampled_from(State), st.booleans()), unique_by=lambda m: m[0]))
def test_availability_is_preserved(versions: list[Managed]) -> None:
    action = next_action(versions)
    if action is None:
        return
    chosen = next(v for v in versions if v.version == action.version)
    others = [v for v in versions if v is not chosen and v.state is State.AVAILABLE]
    if action.kind == "unload":
        assert chosen.state is State.AVAILABLE and not chosen.aspired
        assert others or not any(v.aspired for v in versions)
    else:
        assert chosen.state is State.START and chosen.aspired
