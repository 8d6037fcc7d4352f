"""Why a component was executed: the comparison with its nearest earlier execution."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.explanation import InputArtifact, PastExecution, compare, explain_execution
from pipeline.sources import Sources

SOURCES = Sources({"tensorflow": "1"}, {"fit.py": "0", "tune.py": "0"}, {"Trainer": ["fit.py"]})


def span(number: int, artifact: int, fingerprint: str) -> InputArtifact:
    properties = {"label": f"2016Q{number}", "fingerprint": fingerprint}
    return InputArtifact(artifact, "SpanExampleGen", "r1", properties)


def execution(number: int, **values: Any) -> PastExecution:
    given = {
        "inputs": {"examples": (span(1, 1, "a"), span(2, 2, "b")), "model": (InputArtifact(9, "Trainer", "r1"),)},
        "properties": {
            "config": json.dumps({"trainer": {"epochs": 3, "model": {"hidden_units": [16]}}}),
            "code_digest": "c",
            "schema_digest": "s",
        },
        "sources": SOURCES,
    }
    return PastExecution(id=number, run_id=f"r{number}", **{**given, **values})


def texts(before: PastExecution, now: PastExecution) -> list[str]:
    return [difference.text for difference in compare("Trainer", before, now)]


def test_spans_that_are_new_gone_or_others_are_named() -> None:
    now = execution(2, inputs={"examples": (span(2, 7, "c"), span(3, 3, "d")), "model": (InputArtifact(9),)})
    assert texts(execution(1), now) == [
        "examples: span 2016Q1 is gone",
        "examples: span 2016Q2 has another fingerprint",
        "examples: span 2016Q3 is new",
    ]
    same = execution(2, inputs={**execution(1).inputs, "examples": (span(1, 1, "a"), span(2, 7, "b"))})
    assert texts(execution(1), same) == ["examples: span 2016Q2 was made anew by SpanExampleGen"]


def test_an_upstream_component_is_named() -> None:
    inputs = {**execution(1).inputs, "model": (InputArtifact(10, "Trainer", "r2"),)}
    assert texts(execution(1), execution(2, inputs=inputs)) == ["model: Trainer was executed anew, in run r2"]
    assert texts(execution(1), execution(2, inputs={**inputs, "model": ()})) == ["model: there is none now"]
    assert texts(execution(1, inputs={**inputs, "model": ()}), execution(2)) == ["model: there was none"]


def test_config_keys_are_dotted_with_both_values() -> None:
    config = json.dumps({"trainer": {"epochs": 5, "model": {"hidden_units": [16, 8]}}})
    now = execution(2, properties={**execution(1).properties, "config": config})
    assert texts(execution(1), now) == ["trainer.epochs: 3 -> 5", "trainer.model.hidden_units: [16] -> [16, 8]"]
    custom = json.dumps({"config": {"seed": 1}, "code_digest": "c"})
    before, after = (dataclasses.replace(now, properties={"custom_config": c}) for c in (custom, custom[:-2] + 'd"}'))
    assert texts(before, before) == []
    changed = dataclasses.replace(after, sources=dataclasses.replace(SOURCES, files={"fit.py": "1", "tune.py": "1"}))
    assert texts(before, changed) == ["fit.py has changed"]


def test_files_and_libraries_are_named_only_when_the_code_digest_says_so() -> None:
    sources = Sources({"tensorflow": "2"}, {"fit.py": "1", "tune.py": "1"}, {"Trainer": ["fit.py"]})
    assert texts(execution(1), execution(2, sources=sources)) == []
    properties = {**execution(1).properties, "code_digest": "d"}
    now = execution(2, sources=sources, properties=properties)
    assert texts(execution(1), now) == ["fit.py has changed", "tensorflow: 1 -> 2"]
    unknown = execution(2, sources=None, properties=properties)
    assert texts(execution(1), unknown) == ["its sources have changed; which ones is not on record"]


def test_the_window_and_the_curated_schema() -> None:
    def window(**prints: str) -> str:
        return json.dumps({"spans": [{"label": label, "fingerprint": print_} for label, print_ in prints.items()]})

    before = execution(1, properties={"window": window(a="1", b="2"), "schema_digest": "s"})
    now = execution(2, properties={"window": window(b="3", c="4"), "schema_digest": "t"})
    assert texts(before, now) == [
        "span a is gone from the window",
        "span b has another fingerprint",
        "span c is new in the window",
        "the curated schema has another content",
    ]


def test_the_nearest_is_the_one_with_the_fewest_differences_and_then_the_newest() -> None:
    def with_epochs(number: int, epochs: int, seed: int = 0) -> PastExecution:
        return execution(number, properties={"config": json.dumps({"trainer": {"epochs": epochs}, "seed": seed})})

    earlier = [with_epochs(1, 3), with_epochs(2, 4), with_epochs(3, 9, seed=1)]
    found = explain_execution("Trainer", "done", with_epochs(4, 5), earlier)
    assert found.against == "r2" and found.reason == "the config has changed"
    assert [difference.text for difference in found.differences] == ["trainer.epochs: 4 -> 5"]


def test_reasons_without_a_difference() -> None:
    now = execution(2)
    assert explain_execution("Trainer", "done", now, []).reason == "its first execution"
    assert explain_execution("Trainer", "done", now, [execution(1)], forced=True).reason == "forced"
    gone = execution(1, outputs_exist=False)
    assert explain_execution("Trainer", "done", now, [gone]).reason == "its earlier artifacts are gone"
    assert "nothing that is on record" in explain_execution("Trainer", "done", now, [execution(1)]).reason


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["config", "custom_config", "window", "code_digest", "column_types", "state_dir"]),
    VALUES.map(json.dumps) | st.text(max_size=10),
)


@settings(max_examples=50, deadline=None)
@given(before=PROPERTIES, after=PROPERTIES)
def test_whatever_stands_there_a_comparison_with_itself_finds_nothing(
    before: dict[str, str], after: dict[str, str]
) -> None:
    one, two = execution(1, properties=before), execution(2, properties=after)
    assert not compare("Trainer", one, dataclasses.replace(one, id=2))
    for difference in compare("Trainer", one, two):
        assert difference.text and difference.kind in ("data", "config", "schema", "code")
