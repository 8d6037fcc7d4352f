"""Which options of a run go together."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.options import RunOptions
from schema.errors import UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": "Trainr"}, "--until must be one of"),
        ({"from_component": "Trainr"}, "--from must be one of"),
        ({"force": ("Trainr",)}, "--force must be one of"),
        ({"resume": "latest", "span": "3"}, "--span must not be given with --resume"),
        ({"resume": "latest", "from_component": "Trainer"}, "--from must not be given with --resume"),
        ({"resume": "latest", "as_compiled": True}, "--resume must not be given with --as-compiled"),
        ({"from_component": "Trainer", "as_compiled": True}, "--from must not be given with --as-compiled"),
        ({"force": ("Trainer",), "as_compiled": True}, "--force must not be given with --as-compiled"),
        ({"until": "Trainer", "as_compiled": True}, "--until must not be given with --as-compiled"),
        ({"from_component": "Trainer", "span": "3"}, "--span must not be given with --from Trainer"),
        ({"from_component": "Trainer", "until": "Tuner"}, "--until must be Trainer or a component that needs it"),
        ({"from_component": "Trainer", "force": ("Tuner",)}, "--force must not name a component before"),
        ({"force": ("Trainer",), "until": "Tuner"}, "--force must name Tuner or a component that it needs"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunOptions(**options).check()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"from_component": "Trainer", "until": "Evaluator"},
        {"from_component": "SpanExampleGen", "span": "3"},
        {"from_component": "Trainer", "force": ("Evaluator",)},
        {"resume": "latest", "force": ("Trainer",), "until": "Trainer"},
        {"as_compiled": True, "span": "latest"},
    ],
)
def test_the_others_go_together(options: dict[str, Any]) -> None:
    RunOptions(**options).check()


def test_from_forces_its_component_and_takes_what_comes_before() -> None:
    options = RunOptions(from_component="Transform", force=("Trainer", "Trainer"))
    assert options.forced == ("Trainer", "Transform")
    assert options.taken[0] == "SpanExampleGen" and options.taken[-1] == "DataGate"
