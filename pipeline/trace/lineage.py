"""A trace as a graph: what came from what, as text for Mermaid or Graphviz."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

GraphFormat = Literal["mermaid", "dot"]
_MAX_LABEL = 200
_PLAIN = frozenset(" .,:/=+-_()%@*")
# Kind to (Mermaid's brackets, Graphviz's shape).
_SHAPES = {
    "span": ("[(", ")]", "cylinder"),
    "input": ("[/", "/]", "note"),
    "run": ("[", "]", "box"),
    "version": ("([", "])", "component"),
    "release": ("{{", "}}", "hexagon"),
    "request": (">", "]", "ellipse"),
}


@dataclasses.dataclass(frozen=True)
class Node:
    """A thing in a graph.

    Attributes:
        key: its name in the graph's text, letters and digits.
        kind: span, input, run, version, release or request.
        lines: what is written on it.
    """

    key: str
    kind: str
    lines: tuple[str, ...]


@dataclasses.dataclass
class Lineage:
    """A graph.

    Attributes:
        nodes: identity to node, in order.
        edges: pairs of identities, from what was there first to what came of it, each with what is written on it.
    """

    nodes: dict[str, Node] = dataclasses.field(default_factory=dict)
    edges: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)

    def add(self, identity: str, kind: str, *lines: str) -> str:
        """Adds a node unless it is there, and returns its identity."""
        if identity not in self.nodes:
            self.nodes[identity] = Node(f"n{len(self.nodes)}", kind, lines)
        return identity

    def join(self, source: str, target: str, label: str = "") -> None:
        """Adds an edge unless it is there."""
        self.edges.setdefault((source, target), label)


def lineage_of(document: Mapping[str, Any]) -> Lineage:
    """Returns the graph of what `pipeline.trace.documents.trace` returned."""
    graph = Lineage()
    for run in document["runs"]:
        _add_run(graph, run)
    for appearance in document.get("span", {}).get("appearances", ()):
        target = graph.add(f"run:{appearance['run_id']}", "run", "run", appearance["run_id"])
        _add_span(graph, appearance, target)
        for version in appearance["versions"]:
            graph.join(target, f"version:{version}")
    for version in document["versions"]:
        _add_version(graph, version)
    for request in document["requests"]:
        _add_request(graph, request)
    # A run may name a version that no longer has an entry.
    graph.edges = {pair: label for pair, label in graph.edges.items() if set(pair) <= graph.nodes.keys()}
    return graph


def _add_run(graph: Lineage, run: Mapping[str, Any]) -> None:
    outcome = ((run.get("verdict") or {}).get("outcome")) or run["facts"]
    target = graph.add(f"run:{run['run_id']}", "run", "run", run["run_id"], outcome)
    if "config_digest" not in run:
        return
    for name, value, note in (
        ("config", run["config_digest"], ""),
        ("commit", run["git_commit"], "dirty" if run["git_dirty"] else ""),
        ("lock file", run["lock_sha256"], ""),
        ("schema", run["schema"]["curated"] or run["schema"]["used"], ""),
        ("excluded rows", (run["exclusions"] or {}).get("digest"), ""),
    ):
        if value:
            lines = [name, value[:12], *([note] if note else [])]
            graph.join(graph.add(f"{name}:{value}", "input", *lines), target)
    for span in run["spans"]:
        _add_span(graph, span, target)
    version = (run["verdict"] or {}).get("version")
    if version is not None:
        graph.join(target, f"version:{version}")


def _add_span(graph: Lineage, span: Mapping[str, Any], target: str) -> None:
    source = graph.add(
        f"span:{span['span']}:{span['fingerprint']}", "span", f"span {span['label']}", span["fingerprint"][:12]
    )
    rows = "" if span["rows"] is None else f"{sum(span['rows'].values()):,} rows"
    graph.join(source, target, rows)


def _add_version(graph: Lineage, version: Mapping[str, Any]) -> None:
    own = f"version:{version['version']}"
    graph.add(own, "version", f"version {version['version']}", (version["model_digest"] or "")[:12])
    if version["run_id"]:
        graph.join(graph.add(f"run:{version['run_id']}", "run", "run", version["run_id"]), own)
    for standing in version["standings"]:
        graph.join(own, _add_standing(graph, standing))


def _add_standing(graph: Lineage, standing: Mapping[str, Any]) -> str:
    role = standing["role"] if standing["share"] is None else f"{standing['role']} {standing['share']:.4g}"
    identity = f"release:{standing['ledger_line']}:{standing['version']}"
    return graph.add(identity, "release", f"{standing['event']['event']}: {role}", standing["since"][:19])


def _add_request(graph: Lineage, request: Mapping[str, Any]) -> None:
    shadow = "shadow " if "shadow" in request else ""
    own = graph.add(
        f"request:{request['request_id']}:{request['version']}:{request['time']}",
        "request",
        f"{shadow}request",
        request["request_id"],
        f"{request['time'][:19]} {request['code']}",
    )
    if request["release"] is not None:
        graph.join(_add_standing(graph, request["release"]), own)
    elif request["version"] is not None:
        graph.join(f"version:{request['version']}", own)


def graph_text(graph: Lineage, form: GraphFormat) -> str:
    """Returns a graph as text that Mermaid or Graphviz draws, whatever is written on its nodes."""
    return _mermaid(graph) if form == "mermaid" else _dot(graph)


def _mermaid(graph: Lineage) -> str:
    lines = ["flowchart LR"]
    for node in graph.nodes.values():
        opening, closing, _ = _SHAPES[node.kind]
        label = "<br/>".join(_mermaid_text(line) for line in node.lines)
        lines.append(f'  {node.key}{opening}"{label}"{closing}')
    for (source, target), label in graph.edges.items():
        arrow = f'-- "{_mermaid_text(label)}" -->' if label else "-->"
        lines.append(f"  {graph.nodes[source].key} {arrow} {graph.nodes[target].key}")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    """Returns a text in which nothing can end a label, be markup or be an entity of Mermaid's."""
    shown = text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in shown)


def _dot(graph: Lineage) -> str:
    lines = [
        "digraph lineage {",
        "  rankdir=LR;",
        '  node [fontname="Helvetica", fontsize=10];',
        '  edge [fontname="Helvetica", fontsize=9];',
    ]
    for node in graph.nodes.values():
        label = "\\n".join(_dot_text(line) for line in node.lines)
        lines.append(f'  {node.key} [shape={_SHAPES[node.kind][2]}, label="{label}"];')
    for (source, target), label in graph.edges.items():
        written = f' [label="{_dot_text(label)}"]' if label else ""
        lines.append(f"  {graph.nodes[source].key} -> {graph.nodes[target].key}{written};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    """Returns a text as the inside of a quoted string of Graphviz."""
    shown = text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"
    printable = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
    return printable.replace("\\", "\\\\").replace('"', '\\"')
