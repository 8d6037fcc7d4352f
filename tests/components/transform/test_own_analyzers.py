"""The analyzers of a line's own function: by what its contributions are known again."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from components.transform.spans import SpanFiles
from schema.errors import ConfigError

SOURCE = """
import tensorflow_transform as tft

def f(inputs, custom_config):
    number = inputs[custom_config.get("column", "n")]
    return {"n": number - tft.mean(number * custom_config.get("times", 1.0))}

def plain(inputs):
    return {"n": inputs["n"]}

def changing(inputs):
    changing.calls += 1
    return {"n": inputs["n"] - tft.mean(inputs["n"] + changing.calls)}

changing.calls = 0
"""
LABEL = {"name": "y", "key": "y_xf", "kind": "class_index", "classes": ["0", "1"]}
SPAN = SpanFiles("span-00001", ("a.gz",), "key of its content")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source file of a user's module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_fn_of_mine", raising=False)
    path = tmp_path / "own_fn_of_mine.py"
    path.write_text(SOURCE)
    return path


def _traced(function: str = "f", config: dict[str, Any] | None = None, default: float = 0.0) -> Any:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.transform.own_analyzers import own_analyzers

    schema = schema_pb2.Schema()
    for name, column_type in {"n": "FLOAT", "m": "FLOAT", "unread": "BYTES", "y": "INT"}.items():
        feature = schema.feature.add(name=name, type=schema_pb2.FeatureType.Value(column_type))
        feature.value_count.max = 1
        how = f"dense_tensor {{ column_name: '{name}' shape {{}} default_value {{ float_value: {default} }} }}"
        if column_type != "FLOAT":
            how = f"varlen_sparse_tensor {{ column_name: '{name}' }}"
        text_format.Parse(how, schema.tensor_representation_group[""].tensor_representation[name])
    custom_config = {
        "preprocessing_fn": f"own_fn_of_mine.{function}",
        "label": LABEL,
        "label_type": "INT",
        "config": config or {},
    }
    return own_analyzers(schema, custom_config)


def _key(**given: Any) -> str:
    return str(_traced(**given).key_of(SPAN))


def test_a_span_has_the_key_of_all_that_its_contributions_depend_on(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = _traced()
    key = traced.key_of(SPAN)
    assert traced.columns == ("n",) and len(traced.entries) == 1
    assert _key() == key
    assert traced.key_of(SpanFiles("span-00002", ("b.gz",), SPAN.key)) == key
    others = [
        traced.key_of(SpanFiles(SPAN.span, SPAN.paths, "another")),
        _key(config={"times": 2.0}),
        _key(config={"column": "m"}),
        _key(default=1.0),
    ]
    module.write_text(SOURCE + "\n# the same, said otherwise\n")
    importlib.invalidate_caches()
    others.append(_key())
    module.write_text(SOURCE)
    assert _key() == key
    monkeypatch.setattr("components.transform.own_analyzers.metadata.version", lambda name: f"{name} 99")
    others.append(_key())
    assert len({key, *others}) == 7


def test_a_config_that_the_analyzers_do_not_see_changes_nothing(module: Path) -> None:
    assert _key(config={"exclude": ["unread"]}) == _key()


def test_a_function_without_analyzers_has_none(module: Path) -> None:
    assert _traced("plain") is None


def test_an_analyzer_that_is_never_the_same_is_not_kept(module: Path) -> None:
    assert _traced("changing").entries is None


def test_a_function_that_is_not_there_is_an_error(module: Path) -> None:
    with pytest.raises(ConfigError, match="transform.preprocessing_fn must be .*'own_fn_of_mine.g'"):
        _traced("g")
