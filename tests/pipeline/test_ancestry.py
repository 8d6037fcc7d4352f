"""Which component needs which: as in the compiled DAG, and what options make of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.ancestry import UPSTREAM, ancestors, check_component, taken_before
from schema.errors import UsageError
from schema.orchestration import NODES

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "dag" / "taxi.json"


def test_it_is_the_compiled_dag() -> None:
    nodes = json.loads(GOLDEN.read_text(encoding="utf-8"))["nodes"]
    assert {node: sorted(upstream) for node, upstream in UPSTREAM.items()} == {
        node: sorted(value["upstream"]) for node, value in nodes.items()
    }


def test_ancestors_are_those_of_ancestors_too() -> None:
    assert ancestors("SpanExampleGen") == frozenset()
    assert ancestors("Transform") == {
        "SpanExampleGen",
        "SpanStatisticsGen",
        "CuratedSchemaGen",
        "SpanExampleValidator",
        "DataGate",
    }


def test_the_baseline_is_asked_anew_unless_the_evaluation_is_taken() -> None:
    assert "baseline" not in taken_before("Evaluator")
    assert "baseline" in taken_before("Pusher")


@pytest.mark.parametrize("node", NODES)
def test_what_is_taken_needs_nothing_that_is_not(node: str) -> None:
    taken = taken_before(node)
    assert node not in taken
    for one in taken:
        assert set(UPSTREAM[one]) <= set(taken)


def test_a_misspelt_component_is_named_with_the_nearest() -> None:
    check_component("--from", "Trainer")
    with pytest.raises(UsageError, match=r"--force must be one of SpanExampleGen.*'trainr'(.|\n)*mean Trainer\?"):
        check_component("--force", "trainr")
