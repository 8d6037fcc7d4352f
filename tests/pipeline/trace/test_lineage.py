"""The lineage as a graph: that its text is one, whatever is written on its nodes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.trace.documents import trace
from pipeline.trace.lineage import Lineage, graph_text, lineage_of
from pipeline.trace.subject import find_subject
from schema.serving import CaptureConfig
from serving.capture.hook import CaptureHook
from tests.pipeline.trace.conftest import RELEASED, Home
from tests.serving.capture.exchanges import exchange

MERMAID_LABEL = r'"(?:[^"#;<>&\[\]{}|\\`]|#\d+;|<br/>)*"'
MERMAID = re.compile(
    rf"flowchart LR\n(  n\d+(?:\[\(|\[/|\[|\(\[|\{{\{{|>){MERMAID_LABEL}(?:\)\]|/\]|\]|\]\)|\}}\}})\n)*"
    rf"(  n\d+ (?:-->|-- {MERMAID_LABEL} -->) n\d+\n)*"
)
DOT_LABEL = r'"(?:[^"\\\n]|\\.)*"'
DOT = re.compile(
    rf"digraph lineage \{{\n  rankdir=LR;\n  node \[fontname={DOT_LABEL}, fontsize=10\];\n"
    rf"  edge \[fontname={DOT_LABEL}, fontsize=9\];\n"
    rf"(  n\d+ \[shape=\w+, label={DOT_LABEL}\];\n)*(  n\d+ -> n\d+(?: \[label={DOT_LABEL}\])?;\n)*\}}\n"
)


def test_a_request_leads_back_to_its_spans(home: Home) -> None:
    home.event("pushed", 7, RELEASED)
    home.run(7, {"2026Q1": "a" * 64, "2026Q2": "b" * 64})
    with CaptureHook(home.state.capture, "cabs", CaptureConfig()) as hook:
        hook.done(exchange(1, started=RELEASED + 5))
    graph = lineage_of(trace(find_subject("id-000001", [home.state])))
    back: dict[str, set[str]] = {}
    for source, target in graph.edges:
        back.setdefault(target, set()).add(source)
    todo = [identity for identity in graph.nodes if identity.startswith("request:")]
    reached: set[str] = set()
    while todo:
        reached |= {(now := todo.pop())}
        todo += [source for source in back.get(now, ()) if source not in reached]
    assert reached == set(graph.nodes)
    assert {node.kind for node in graph.nodes.values()} == {"span", "input", "run", "version", "release", "request"}
    assert sum(node.kind == "span" for node in graph.nodes.values()) == 2
    for what in ("v7", "2026Q1", "latest"):
        found = lineage_of(trace(find_subject(what, [home.state])))
        assert "version:7" in found.nodes and any(key.startswith("span:") for key in found.nodes)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=3), st.text(max_size=8))
def test_any_text_stays_inside_its_label(lines: list[str], edge: str) -> None:
    graph = Lineage()
    graph.add("a", "request", *lines)
    graph.add("b", "span", 'x"]; end', "#quot;<script>", "\\", "%%{init}%%")
    graph.join("a", "b", edge)
    assert MERMAID.fullmatch(graph_text(graph, "mermaid"))
    assert DOT.fullmatch(graph_text(graph, "dot"))


@pytest.mark.parametrize("wrong", ['n0["a"b"]', "n0[a]"])
def test_the_pattern_refuses_what_is_no_graph(wrong: str) -> None:
    assert MERMAID.fullmatch(f"flowchart LR\n  {wrong}\n") is None
