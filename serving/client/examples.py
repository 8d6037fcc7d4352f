"""tf.Examples of raw rows, as messages and as TensorFlow Serving's JSON."""

from __future__ import annotations

import base64
from typing import Any, TypeAlias

import numpy as np

from serving import messages
from serving.client.errors import Problem
from serving.client.rows import RawColumns
from serving.client.signatures import TensorSpec
from serving.client.values import is_missing, sentence

Features: TypeAlias = dict[str, list[Any]]
"""A tf.Example: feature name to its values, all int, all float or all bytes."""

_LISTS = {int: "int64_list", float: "float_list", bytes: "bytes_list"}
_MANY = (list, tuple, np.ndarray)


def serialize(features: Features) -> bytes:
    """Returns a serialized tf.Example. Equal features give equal bytes."""
    example = messages.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if values:
            getattr(feature, _LISTS[type(values[0])]).value.extend(values)
    return bytes(example.SerializeToString(deterministic=True))


def as_json(features: Features) -> dict[str, Any]:
    """Returns a tf.Example as `:classify` and `:regress` take it: integers as integers, other numbers with a point."""
    return {
        name: as_json_value(values[0]) if len(values) == 1 else [as_json_value(value) for value in values]
        for name, values in features.items()
    }


def as_json_value(value: Any) -> Any:
    """Returns bytes as text, or as base64 where they are no UTF-8; anything else as it is."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def open_examples(raw: RawColumns) -> tuple[list[Features], list[Problem]]:
    """Makes tf.Examples of columns that nothing is known about.

    Integers (and booleans), other numbers and texts are told apart by their Python types; a column with integers and
    other numbers holds other numbers. What is missing is left out.

    Args:
        raw: the columns; a row may have one value or several.

    Returns:
        An example a row, and what cannot be one.
    """
    examples: list[Features] = [{} for _ in range(raw.rows)]
    problems = list(raw.problems)
    for name, values in raw.columns.items():
        kinds: set[type] = set()
        for row, value in enumerate(values):
            if not isinstance(value, _MANY) and is_missing(value):
                continue
            items = [_item(item) for item in (value if isinstance(value, _MANY) else [value])]
            if None in items:
                spec = TensorSpec(name, "string", None)
                problems.append(Problem(row, name, sentence(spec, "a number, text, or a list of these", value)))
                continue
            kinds.update(map(type, items))
            examples[row][name] = items
        if kinds == {int, float}:
            for features in examples:
                if name in features:
                    features[name] = [float(item) for item in features[name]]
        elif len(kinds) > 1:
            text = f"column {name!r} must hold numbers only, or texts only. Got both instead"
            problems += [Problem(row, name, text) for row, features in enumerate(examples) if name in features]
    return examples, problems


def _item(item: Any) -> int | float | bytes | None:
    """Returns what a feature holds, or None for what it cannot hold."""
    if isinstance(item, (bool, np.bool_, int, np.integer)):
        return int(item) if -(2**63) <= int(item) < 2**63 else None
    if isinstance(item, (float, np.floating)):
        return float(item)
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError:
            return None
    return bytes(item) if isinstance(item, (bytes, bytearray)) else None
