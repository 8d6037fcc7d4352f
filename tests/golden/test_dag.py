"""The compiled DAG of each shipped line, held against a file. `CONVEYOR_REGENERATE_GOLDEN=1 pytest tests/golden` writes
the files anew."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from data.window import Window
from pipeline.graph import create_pipeline
from pipeline.inputs import ENTRY_MODULES, RunInputs
from pipeline.run import NODES
from pipeline.state import State
from schema.loading import load_line, shipped_lines

FOLDER = Path(__file__).parent / "dag"
LINES = shipped_lines()
FILE = {"path": "/data/table.csv", "sha256": "00" * 32, "bytes": 1}
WINDOW = Window.model_validate(
    {
        "format": "csv",
        "spans": [
            {"span": span, "version": 0, "label": str(span), "files": [FILE], "fingerprint": f"{span:064d}"}
            for span in (1, 2)
        ],
    }
)


def run_inputs(schema_file: Path) -> RunInputs:
    """Returns inputs of a run that are the same everywhere."""
    return RunInputs(
        window=WINDOW,
        column_types={},
        schema_file=schema_file,
        schema_digest="11" * 32,
        code_digests={node: f"code of {node}" for node in ENTRY_MODULES},
    )


def compiled(name: str) -> dict[str, Any]:
    """Returns what matters of a line's DAG: nodes in order, with type, inputs, outputs and exec properties.

    The compiled proto itself has fields that differ between the TFX lines.
    """
    from tfx.dsl.compiler.compiler import Compiler

    loaded = load_line(LINES[name], env={})
    inputs = run_inputs(Path("/lines/schema.pbtxt"))
    ir = Compiler().compile(create_pipeline(loaded.line, inputs, State(Path("/state"), name)))
    nodes = {}
    for node in ir.nodes:
        value = json_format.MessageToDict(node.pipeline_node)
        nodes[value["nodeInfo"]["id"]] = {
            "type": value["nodeInfo"]["type"]["name"],
            "upstream": sorted(value.get("upstreamNodes", [])),
            "inputs": {
                key: sorted(
                    channel["producerNodeQuery"]["id"]
                    for channel in entry.get("channels", [])
                    if "producerNodeQuery" in channel
                )
                for key, entry in sorted(value.get("inputs", {}).get("inputs", {}).items())
            },
            "outputs": {
                key: entry["artifactSpec"]["type"]["name"]
                for key, entry in sorted(value.get("outputs", {}).get("outputs", {}).items())
            },
            "parameters": {
                key: _readable(entry.get("fieldValue", {}))
                for key, entry in sorted(value.get("parameters", {}).get("parameters", {}).items())
            },
        }
    return {"pipeline": ir.pipeline_info.id, "nodes": nodes}


def _readable(value: dict[str, Any]) -> Any:
    text = next(iter(value.values()), None)
    if isinstance(text, str) and text[:1] in "{[":
        return json.loads(text)
    return text


@pytest.mark.parametrize("name", sorted(LINES))
def test_compiled_dag_is_the_golden_one(name: str) -> None:
    found = compiled(name)
    golden = FOLDER / f"{name}.json"
    if os.environ.get("CONVEYOR_REGENERATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        golden.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))


def test_the_graph_has_the_nodes_that_the_command_line_knows() -> None:
    assert set(compiled("taxi")["nodes"]) == set(NODES)


def test_building_a_graph_reads_and_writes_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled("taxi")
    loaded = load_line(LINES["taxi"], env={})
    inputs = RunInputs(WINDOW, {}, Path("/x"), "", {node: "" for node in ENTRY_MODULES})

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"opened {args}")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    create_pipeline(loaded.line, inputs, State(Path("/state"), "taxi"))
