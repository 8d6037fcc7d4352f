"""Predictions as PredictionLog records, a record a row, encoded a column at a time.

A record is what TFX's BulkInferrer writes: request with the tf.Example, response with an output tensor of batch size 1
each. Beyond that, the model specs have name and version, and `log_metadata` has what captured requests have there
(serving/capture/log_format.py): the line, the row's key, and of a row without a prediction what is wrong with it. A
reader that does not know that field skips it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.binary import fixed_binary, join_cells
from data.examples import varint
from serving import messages
from serving.capture.log_format import METADATA_FIELD
from serving.client.signatures import SignatureSpec
from serving.model_server import tensor_types
from serving.model_server.errors import Code


@dataclasses.dataclass(frozen=True)
class Logged:
    """What is the same in every record.

    Attributes:
        line: the line's name, which is the model's too.
        version: the model version.
        signature: the signature that was called.
        input: the name of its input.
    """

    line: str
    version: int
    signature: SignatureSpec
    input: str


def encode_logs(
    logged: Logged,
    examples: pa.Array,
    outputs: Mapping[str, np.ndarray],
    keys: pa.Array,
    errors: Mapping[int, str],
) -> pa.Array:
    """Returns serialized PredictionLogs, binary (n,).

    Args:
        logged: what is the same in every record.
        examples: binary (m,), the tf.Examples of the rows with a prediction.
        outputs: output name to array, (m, ...); texts as bytes.
        keys: string (n,), the key of every row.
        errors: what is wrong with each of the n - m other rows, by position.
    """
    spec = messages.ModelSpec(name=logged.line, signature_name=logged.signature.name)
    spec.version.value = logged.version
    model_spec = spec.SerializeToString(deterministic=True)
    example = join_cells(_same(_tensor_head("string", (1,)), len(examples)), _sized(_key(8), examples))
    inputs = _sized(_key(2), _entry(logged.input, example))
    answers = [
        _sized(_key(1), _entry(name, _tensor(outputs[name], logged.signature.outputs[name].dtype)))
        for name in sorted(outputs)
    ]
    cells = {"request": inputs, "response": join_cells(*answers)}
    if errors:
        # Rows without a prediction have neither inputs nor outputs, and everything else.
        place = np.full(len(keys), -1)
        place[np.setdiff1d(np.arange(len(keys)), list(errors))] = np.arange(len(examples))
        taken = pa.array(place, pa.int64(), mask=place < 0)
        cells = {name: pc.fill_null(cell.take(taken), b"") for name, cell in cells.items()}
    specs = {number: _same(_key(number) + varint(len(model_spec)) + model_spec, len(keys)) for number in (1, 2)}
    log = join_cells(
        _sized(_key(1), join_cells(specs[1], cells["request"])),
        _sized(_key(2), join_cells(cells["response"], specs[2])),
    )
    metadata = join_cells(specs[1], _sized(_key(METADATA_FIELD), _capture(logged.line, keys, errors)))
    return join_cells(_sized(_key(1), metadata), _sized(_key(6), log))


def _capture(line: str, keys: pa.Array, errors: Mapping[int, str]) -> pa.Array:
    name = line.encode()
    cells = [_same(_key(2) + varint(len(name)) + name, len(keys)), _sized(_key(3), keys.cast(pa.binary()))]
    if errors:
        code = varint(7 << 3) + varint(Code.INVALID_ARGUMENT.value)
        reasons: list[bytes | None] = [None] * len(keys)
        codes: list[bytes | None] = [None] * len(keys)
        for row, text in errors.items():
            reasons[row], codes[row] = text.encode(), code
        cells += [pa.array(codes, pa.binary()), _sized(_key(8), pa.array(reasons, pa.binary()))]
    return join_cells(*cells)


def _tensor(values: np.ndarray, dtype: str) -> pa.Array:
    """Returns TensorProtos of one row each, as tf.make_tensor_proto makes them, binary (m,)."""
    count, shape = len(values), values.shape[1:]
    head = _same(_tensor_head(dtype, (1, *shape)), count)
    flat = values.reshape(count, math.prod(shape))
    if values.dtype == object:
        return join_cells(head, *[_sized(_key(8), pa.array(flat[:, i], pa.binary())) for i in range(flat.shape[1])])
    data = np.ascontiguousarray(flat).astype(flat.dtype.newbyteorder("<"), copy=False)
    content = fixed_binary(data.view(np.uint8).reshape(count, flat.shape[1] * flat.itemsize))
    # A single float stands in float_val, which is packed; anything longer in tensor_content.
    return join_cells(head, _sized(_key(5 if dtype == "float32" and flat.shape[1] == 1 else 4), content))


def _tensor_head(dtype: str, shape: Sequence[int]) -> bytes:
    kind = tensor_types.by_name(dtype)
    assert kind is not None, f"no array is made of {dtype}"
    tensor = messages.TensorProto(dtype=kind.number)
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
    return bytes(tensor.SerializeToString(deterministic=True))


def _entry(name: str, values: pa.Array) -> pa.Array:
    """Returns entries of a protobuf map from texts to messages."""
    key = name.encode()
    return join_cells(_same(_key(1) + varint(len(key)) + key, len(values)), _sized(_key(2), values))


def _key(number: int) -> bytes:
    """Returns the wire key of a length-delimited field."""
    return varint(number << 3 | 2)


def _same(content: bytes, count: int) -> pa.Array:
    return fixed_binary(np.broadcast_to(np.frombuffer(content, np.uint8), (count, len(content))))


def _sized(key: bytes, values: pa.Array) -> pa.Array:
    """Returns key + length + bytes of each value, null where the value is."""
    lengths = np.asarray(pc.fill_null(pc.binary_length(values), 0)).astype(np.int64)
    unique, inverse = np.unique(lengths, return_inverse=True)
    heads = pa.array([key + varint(int(length)) for length in unique], pa.binary())
    taken = pa.array(inverse.reshape(-1), pa.int64(), mask=np.asarray(pc.is_null(values)))
    return join_cells(heads.take(taken), values) if not values.null_count else _nulled(heads.take(taken), values)


def _nulled(heads: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_valid(values), join_cells(heads, values), pa.scalar(None, pa.binary()))
