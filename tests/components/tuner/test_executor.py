"""Which searches the Tuner recalls."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tfx.utils import json_utils

from components.tuner import executor as module
from components.tuner.executor import Executor


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the executor with a custom config, and tells whether it has searched."""
    schema = tmp_path / "schema.pbtxt"
    schema.write_text("feature {}\n")
    made: list[int] = []

    def search(self: Executor, fn_args: Any, folder: Path) -> dict[str, Any]:
        made.append(1)
        return {"hyperparameters": {"values": {}}, "trials": [], "text": "best of 0 trials"}

    monkeypatch.setattr(Executor, "_search", search)
    monkeypatch.setattr(Executor, "_write", lambda *_: None)

    def run(**custom: Any) -> bool:
        config = {"config": {"tuner": {"when": "changed"}}, "code_digest": "c", "state_dir": str(tmp_path)}
        arguments = SimpleNamespace(transform_graph_path="graph", schema_path=str(schema), custom_config={})
        monkeypatch.setattr(module.fn_args_utils, "get_common_fn_args", lambda *_: arguments)
        before = len(made)
        Executor().Do({}, {}, {"custom_config": json_utils.dumps({**config, **custom})})
        return len(made) > before

    return run


def test_a_search_on_a_sample_is_not_recalled_for_all_rows(searched: Any) -> None:
    assert searched(sample=0.2)
    assert not searched(sample=0.2)
    assert searched()
    assert not searched()
    assert searched(sample=0.5)
