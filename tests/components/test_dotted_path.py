"""A user's own function by its dotted path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.dotted_path import imported_function
from schema.errors import ConfigError

KEY = "transform.preprocessing_fn"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_function_is_found_by_its_path() -> None:
    assert imported_function("json.dumps", KEY) is json.dumps
    assert imported_function("json.decoder.JSONDecoder", KEY) is json.JSONDecoder


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere.f", "No module named 'nowhere'"),
        ("json.nothing", "module 'json' has no attribute 'nothing'"),
        ("x", "such as my_features.x"),
        ("", "such as my_features.f"),
        ("json.", "such as my_features.f"),
        (".f", "such as my_features.f"),
        ("json.__name__", "must be callable.*Got 'json.__name__', a str,"),
    ],
)
def test_a_path_that_is_none_says_key_path_and_reason(path: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        imported_function(path, KEY)
    assert str(error.value).startswith(f"{KEY} must be ")
    assert "the dotted path of a function" in str(error.value)
    assert repr(path) in str(error.value)
    assert "PYTHONPATH" in error.value.hint


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def f(:\n", r"SyntaxError: invalid syntax \(broken_\w+.py, line 1\)"),
        ("x = 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import not_installed_at_all\n", "No module named 'not_installed_at_all'"),
    ],
)
def test_a_module_that_fails_says_why(module: Path, source: str, why: str) -> None:
    name = f"broken_{abs(hash(source))}"
    (module / f"{name}.py").write_text(source)
    with pytest.raises(ConfigError, match=why):
        imported_function(f"{name}.f", KEY)
