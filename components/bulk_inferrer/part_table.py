"""Predictions as a table: where each row stood, its key, outputs named as `conveyor predict` names them, and errors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.bulk_inferrer.inference import texts
from components.bulk_inferrer.model_rows import ModelRows
from components.bulk_inferrer.part_rows import FILE, LINE
from data.span_cut import combined
from serving.client.layout import Cell

if TYPE_CHECKING:
    from components.bulk_inferrer.inference import Model

ROW_COLUMNS = ("row", "file", "line")


def part_table(
    first_row: int,
    files: Sequence[str],
    keys: Mapping[str, str],
    version: int,
    model: Model,
    table: pa.Table,
    rows: ModelRows,
    outputs: Mapping[str, np.ndarray],
) -> pa.Table:
    """Returns the table of a part.

    | column | |
    |---|---|
    | `row` | the row's number in the input, from 0 |
    | `file`, `line` | its file, and its first line there (or its record number), from 1 |
    | the key columns | as they are in the input |
    | the outputs | e.g. `predicted_class`, `probabilities[Cash]`, `scores`; null without a prediction |
    | `model_version` | |
    | `error` | what is wrong with a row that has no prediction, else null |

    A column of ours whose name a key column has already is called `prediction.<name>`.
    """
    used = set(keys)
    names = {name: _free(name, used) for name in ROW_COLUMNS}
    layout = model.layout(sorted(used))
    model.check_classes(layout, outputs)
    count = table.num_rows
    columns: dict[str, pa.Array] = {
        names["row"]: pa.array(np.arange(first_row, first_row + count, dtype=np.int64)),
        names["file"]: pa.array(list(files), pa.string()).take(combined(table.column(FILE))),
        names["line"]: combined(table.column(LINE)),
    }
    columns |= {name: key_column(table, name, kind) for name, kind in keys.items()}
    place = np.full(count, -1)
    place[rows.good] = np.arange(len(rows.good))
    taken = pa.array(place, pa.int64(), mask=place < 0)
    for cell in layout.cells:
        columns[cell.name] = output_column(outputs[cell.output], cell).take(taken)
    columns[layout.version] = pa.array(np.full(count, version, np.int64))
    columns[layout.error] = pa.array([rows.errors.get(row) for row in range(count)], pa.string())
    return pa.table(columns)


def key_type(kinds: Sequence[pa.DataType]) -> str:
    """Returns the Arrow type of a key column in the output, given its types in the blocks of the input."""
    found = {str(kind) for kind in kinds if not pa.types.is_null(kind)}
    if found <= {"int64"} and found:
        return "int64"
    return "double" if found and found <= {"int64", "double"} else "string"


def key_column(table: pa.Table, name: str, kind: str) -> pa.Array:
    """Returns a key column in the type that it has in the output."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.type_for_alias(kind))
    column = combined(table.column(name))
    if kind != "string":
        return column.cast(pa.type_for_alias(kind), safe=False)
    if not pa.types.is_binary(column.type):
        return column.cast(pa.string())
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        found = column.to_pylist()
        return pa.array([None if v is None else v.decode("utf-8", "backslashreplace") for v in found], pa.string())


def row_keys(table: pa.Table, files: Sequence[str], keys: Sequence[pa.Array]) -> pa.Array:
    """Returns a text that names each row: `file:line`, its key, or of several columns a JSON list of them."""
    if not keys:
        names = pa.array(list(files), pa.string()).take(combined(table.column(FILE)))
        return pc.binary_join_element_wise(names, combined(table.column(LINE)).cast(pa.string()), ":")
    if len(keys) == 1:
        return pc.fill_null(keys[0].cast(pa.string()), "")
    rows = zip(*(key.to_pylist() for key in keys), strict=True)
    return pa.array([json.dumps(row, ensure_ascii=False) for row in rows], pa.string())


def _free(name: str, used: set[str]) -> str:
    while name in used:
        name = f"prediction.{name}"
    used.add(name)
    return name


def output_column(array: np.ndarray, cell: Cell) -> pa.Array:
    """Returns the column that a cell shows of an output, (m, ...): its values, or several in a row as JSON."""
    if cell.position is not None:
        array = array[:, cell.position]
    elif math.prod(array.shape[1:]) > 1:
        return pa.array([json.dumps(texts(part).tolist(), ensure_ascii=False) for part in array], pa.string())
    array = texts(array.reshape(len(array)))
    return pa.array(array, pa.string()) if array.dtype == object else pa.array(array)
