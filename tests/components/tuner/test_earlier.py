"""An earlier search, as a file says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.tuner.earlier import read_earlier_search
from schema.errors import UsageError

MADE: dict[str, Any] = {"run_id": "r", "made": [{"trial_id": "0", "epochs": 2}]}


def test_a_search_to_repeat(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(MADE))
    found = read_earlier_search(tmp_path / "s.json")
    assert found.made is not None and [trial.epochs for trial in found.made] == [2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "valid dictionary"),
        (json.dumps({"run_id": "r"}), "either `made` or `hyperparameters`"),
        (json.dumps({**MADE, "hyperparameters": {}}), "either `made` or `hyperparameters`"),
        (json.dumps({"run_id": "r", "made": []}), "made: "),
        (json.dumps({"run_id": "r", "made": [{"trial_id": "0", "epochs": 0}]}), "made.0.epochs: "),
        (json.dumps({**MADE, "surplus": 1}), "surplus: "),
    ],
)
def test_what_is_none(content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    with pytest.raises(
        UsageError, match="s.json must be an earlier search, as `conveyor reproduce` writes it"
    ) as raised:
        read_earlier_search(tmp_path / "s.json")
    assert said in str(raised.value)
