"""The code digest changes with the sources that a result depends on, and with no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.code_digest import code_digest, imported_modules, source_closure
from pipeline.inputs import ENTRY_MODULES


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "components/__init__.py": "",
        "components/a/__init__.py": "",
        "components/a/executor.py": "from components.a import logic\n",
        "components/a/logic.py": "def f():\n    from data.deep import g\n    return g\n",
        "components/b/__init__.py": "",
        "components/b/executor.py": "import json\n",
        "data/__init__.py": "",
        "data/deep.py": "g = 1\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_closure_follows_imports_inside_functions(tree: Path) -> None:
    assert set(source_closure(["components.a.executor"], tree)) == {
        "components",
        "components.a",
        "components.a.executor",
        "components.a.logic",
        "data",
        "data.deep",
    }


def test_digest_sees_a_change_far_down_and_none_elsewhere(tree: Path) -> None:
    before = code_digest(["components.a.executor"], root=tree)
    (tree / "components/b/executor.py").write_text("import os\n")
    assert code_digest(["components.a.executor"], root=tree) == before
    (tree / "data/deep.py").write_text("g = 2\n")
    assert code_digest(["components.a.executor"], root=tree) != before


def test_digest_sees_a_users_own_function(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tree / "my_builder.py"
    own.write_text("def build():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tree))
    before = code_digest(["components.b.executor"], ["my_builder.build"], tree)
    own.write_text("def build():\n    return 2\n")
    assert code_digest(["components.b.executor"], ["my_builder.build"], tree) != before


def test_what_is_imported_for_type_checkers_only_is_no_dependency() -> None:
    source = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import data.types
else:
    import data.records
if data:
    import data.rows
"""
    found = imported_modules(source, "components.a.executor", is_package=False)
    assert {name for name in found if name.startswith("data")} == {"data.records", "data.rows"}


def test_relative_imports_are_resolved() -> None:
    assert "components.a.logic" in imported_modules("from . import logic", "components.a.executor", is_package=False)
    assert "components.c" in imported_modules("from ..c import x", "components.a.executor", is_package=False)


@pytest.mark.parametrize("node", sorted(ENTRY_MODULES))
def test_entry_modules_are_there(node: str) -> None:
    for module in ENTRY_MODULES[node]:
        assert module in source_closure([module]), f"{module} of {node} has no source file"


def test_a_new_slice_does_not_touch_the_trainers_sources() -> None:
    assert not any(name.startswith("components.evaluator") for name in source_closure(ENTRY_MODULES["Trainer"]))
