"""Where two artifacts differ, down to the tensor's element, the record, the line or the key. Needs both to be there."""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

from data.records import read_records
from pipeline.comparison import differences
from pipeline.identities import without_times
from pipeline.rebuild.comparison import Compared

_TEXTS = (".pbtxt", ".txt", "")


def first_difference(compared: Compared) -> str:
    """Returns the first difference of an artifact in words, as closely as what is left of it allows.

    Args:
        compared: an artifact that is not equal.
    """
    part = compared.differing[0]
    where = f"{compared.name}, {part}"
    if compared.rebuilt is None:
        return f"{compared.name}: the rebuild has none"
    if not compared.original:
        return f"{compared.name}: the run had none"
    if not Path(compared.original).is_dir():
        return f"{where} (the run's own artifact is gone, so that it cannot be said more closely)"
    detail = _detail(Path(compared.original), Path(compared.rebuilt), part)
    return f"{where}: {detail}" if detail else where


def _detail(original: Path, rebuilt: Path, part: str) -> str:
    model, separator, variable = part.partition("/variables/")
    if separator and (original / model / "saved_model.pb").is_file():
        return _tensors(original / model, rebuilt / model, variable)
    file, _, inner = part.partition(": ")
    one, two = original / file, rebuilt / file
    if not one.is_file() or not two.is_file():
        return "only the rebuild has it" if two.is_file() else "only the run had it" if one.is_file() else ""
    if one.suffix == ".gz":
        return _records(one, two)
    if one.suffix == ".json":
        return _keys(_json(one), _json(two), inner)
    if one.suffix in _TEXTS:
        return _lines(one, two)
    return f"{one.stat().st_size:,} and {two.stat().st_size:,} bytes"


def _tensors(original: Path, rebuilt: Path, name: str) -> str:
    import numpy as np
    import tensorflow as tf

    readers = [tf.train.load_checkpoint(str(folder / "variables" / "variables")) for folder in (original, rebuilt)]
    if not all(reader.has_tensor(name) for reader in readers):
        return "only one of the two has this variable"
    one, two = (np.asarray(reader.get_tensor(name)) for reader in readers)
    if one.shape != two.shape or one.dtype != two.dtype or one.dtype == object:
        return f"{one.dtype} {list(one.shape)} and {two.dtype} {list(two.shape)}"
    unequal = one != two
    place = [int(number) for number in np.argwhere(unequal)[0]] if unequal.any() else []
    largest = float(np.max(np.abs(one.astype(np.float64) - two.astype(np.float64))))
    return (
        f"{int(unequal.sum()):,} of {one.size:,} values differ, the first at {place}: {one[tuple(place)].item()!r} and "
        f"{two[tuple(place)].item()!r}; at most by {largest:.3g}"
    )


def _records(one: Path, two: Path) -> str:
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    for number, (first, second) in enumerate(zip_longest(read_records(one), read_records(two))):
        if first == second:
            continue
        if first is None or second is None:
            return f"{'the rebuild' if first is None else 'the run'} has more records than {number:,}"
        try:
            one_row, other_row = (
                {name: value.SerializeToString(deterministic=True) for name, value in example.features.feature.items()}
                for example in map(example_pb2.Example.FromString, (first, second))
            )
        except DecodeError:
            return f"record {number:,}"
        names = [name for name in sorted({*one_row, *other_row}) if one_row.get(name) != other_row.get(name)]
        # Its values may be personal data.
        return f"record {number:,}, feature {', '.join(names)}"
    return "the same records, stored otherwise"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _keys(one: Any, two: Any, inner: str) -> str:
    if inner and isinstance(one.get("slices"), list):
        one, two = ({row["slice"]: row["metrics"] for row in value["slices"]}.get(inner, {}) for value in (one, two))
    found = differences(_numbered(without_times(one)), _numbered(without_times(two)))
    return "; ".join(f"{key}: {before} -> {after}" for key, (before, after) in list(found.items())[:3])


def _numbered(value: Any) -> Any:
    """Lists as mappings, so that they are compared element by element."""
    if isinstance(value, list):
        value = {str(number): element for number, element in enumerate(value)}
    return {key: _numbered(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _lines(one: Path, two: Path) -> str:
    texts = [path.read_bytes().split(b"\n") for path in (one, two)]
    for number, (first, second) in enumerate(zip_longest(*texts), start=1):
        if first != second:
            shown = [repr((line or b"").decode(errors="replace")[:80]) for line in (first, second)]
            return f"line {number}: {shown[0]} and {shown[1]}"
    return ""
