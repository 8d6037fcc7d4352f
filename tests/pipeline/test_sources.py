"""The sources of a run, and what has changed between two of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pipeline.code_digest import code_digest
from pipeline.inputs import ENTRY_MODULES, node_sources
from pipeline.sources import SOURCES_FILE, Sources
from schema.line import Line

LINE = {"name": "toy", "task": "regression", "label": {"name": "y"}, "examples": {"input": "t.csv"}}


def test_they_are_the_files_that_the_code_digest_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_model.py").write_text("def build():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    line = Line.model_validate({**LINE, "trainer": {"model": {"builder": "my_model.build"}}})
    files = node_sources(line)
    sources = Sources.of(files)
    assert set(sources.nodes) == set(ENTRY_MODULES)
    assert "components/trainer/fit.py" in sources.nodes["Trainer"]
    assert "components/trainer/fit.py" not in sources.nodes["SpanExampleGen"]
    assert str(tmp_path / "my_model.py") in sources.nodes["Trainer"]
    assert len(sources.of_node("Evaluator")) == len(files["Evaluator"])
    before = code_digest(ENTRY_MODULES["Trainer"], ["my_model.build"])
    (tmp_path / "my_model.py").write_text("def build():\n    return 2\n")
    assert code_digest(ENTRY_MODULES["Trainer"], ["my_model.build"]) != before
    changes = Sources.of(node_sources(line)).changes_since(sources, "Trainer")
    assert [change.text for change in changes] == [f"{tmp_path / 'my_model.py'} has changed"]


SOURCES = Sources(
    libraries={"tensorflow": "1", "numpy": "1"},
    files={"a.py": "00", "b.py": "11", "c.py": "22"},
    nodes={"Trainer": ["a.py", "b.py"], "Tuner": ["c.py"]},
)


def test_written_and_read(tmp_path: Path) -> None:
    SOURCES.write(tmp_path)
    assert Sources.read(tmp_path) == SOURCES
    assert Sources.read(tmp_path / "nowhere") is None
    (tmp_path / SOURCES_FILE).write_text("{")
    assert Sources.read(tmp_path) is None


def test_changes_are_named_for_a_node_or_for_all() -> None:
    now = dataclasses.replace(
        SOURCES,
        libraries={"tensorflow": "2", "numpy": "1"},
        files={"a.py": "01", "c.py": "23", "d.py": "33"},
        nodes={"Trainer": ["a.py", "d.py"], "Tuner": ["c.py"]},
    )
    assert [change.text for change in now.changes_since(SOURCES, "Trainer")] == [
        "a.py has changed",
        "b.py is gone",
        "d.py is new",
        "tensorflow: 1 -> 2",
    ]
    assert "c.py has changed" in [change.text for change in now.changes_since(SOURCES)]
    assert not SOURCES.changes_since(SOURCES)
