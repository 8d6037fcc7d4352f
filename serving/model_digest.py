"""The model digest: equal digest, equal model.

A SavedModel's own bytes are no identity: function names carry counters, maps have no order, the checkpoint's shards
and the fingerprint file differ between two exports of the same weights. The digest is over what makes the answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schema.errors import ReleaseError

_UNNAMED_ATTRIBUTES = frozenset(
    {"shared_name", "container", "config_proto", "config", "executor_type", "_output_shapes", "_class"}
)
"""Node attributes that name things or place them, and do not change what is computed."""


def model_digest(folder: str | Path) -> str:
    """Returns the model digest of a SavedModel, without running it.

    SHA-256 over, in this order: every variable (name, dtype, shape, bytes, in name order), every file under `assets/`
    (relative path, bytes, in path order), every signature (key, method, inputs and outputs with dtype and shape,
    defaults, in key order), and every operation of the graph and its functions (kind and attributes such as constants,
    as a sorted bag: two exports of one model name and order their functions differently). What is in `assets.extra/`
    does not change the model and does not count.

    Args:
        folder: the SavedModel's directory.

    Returns:
        64 hex digits.

    Raises:
        ReleaseError: the folder holds no readable SavedModel.
    """
    saved = _read(Path(folder))
    digest = hashlib.sha256()
    for part in (_variables(Path(folder)), _assets(Path(folder)), _signatures(saved), _operations(saved)):
        count = 0
        for piece in part:
            digest.update(len(piece).to_bytes(8, "big") + piece)
            count += 1
        digest.update(b"part" + count.to_bytes(8, "big"))
    return digest.hexdigest()


def part_digests(folder: str | Path) -> dict[str, str]:
    """Returns what the model digest is over, part by part: two models differ in those parts that do.

    Args:
        folder: the SavedModel's directory.

    Returns:
        Part to SHA-256: `variables/NAME`, `assets/PATH`, `signatures` and `operations`.

    Raises:
        ReleaseError: the folder holds no readable SavedModel.
    """
    saved = _read(Path(folder))
    found = {}
    for kind, pieces in (("variables", _variables(Path(folder))), ("assets", _assets(Path(folder)))):
        # A piece that names, then one that holds the bytes.
        for name, content in zip(pieces, pieces, strict=True):
            path = name.partition(b"\0")[0].decode()
            found[f"{kind}/{path}"] = hashlib.sha256(len(name).to_bytes(8, "big") + name + content).hexdigest()
    for kind, pieces in (("signatures", _signatures(saved)), ("operations", _operations(saved))):
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(len(piece).to_bytes(8, "big") + piece)
        found[kind] = digest.hexdigest()
    return found


def _read(folder: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as e:
        raise ReleaseError(
            f"{folder} must be a SavedModel. Got {type(e).__name__} on saved_model.pb instead",
            hint="restore the folder, or push the model again",
        ) from e


def _variables(folder: Path) -> Iterator[bytes]:
    if not (folder / "variables" / "variables.index").is_file():
        return
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        for name, shape in sorted(reader.get_variable_to_shape_map().items()):
            if name == "_CHECKPOINTABLE_OBJECT_GRAPH":
                continue
            value = reader.get_tensor(name)
            dtype = reader.get_variable_to_dtype_map()[name].name
            yield f"{name}\0{dtype}\0{list(shape)}".encode()
            yield _bytes_of(value)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as e:  # IndexError: a file cut short
        raise ReleaseError(
            f"{folder / 'variables'} must be a readable checkpoint. Got {type(e).__name__} instead: {e}",
            hint="restore the folder, or push the model again",
        ) from e


def _bytes_of(value: Any) -> bytes:
    import numpy as np

    array = np.asarray(value)
    if array.dtype == object:
        cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in array.ravel()]
        return b"".join(len(cell).to_bytes(8, "big") + cell for cell in cells)
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _assets(folder: Path) -> Iterator[bytes]:
    root = folder / "assets"
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        yield path.relative_to(root).as_posix().encode()
        yield path.read_bytes()


def _signatures(saved: Any) -> Iterator[bytes]:
    for meta_graph in saved.meta_graphs:
        yield "\0".join(sorted(meta_graph.meta_info_def.tags)).encode()
        for key, signature in sorted(meta_graph.signature_def.items()):
            yield f"{key}\0{signature.method_name}".encode()
            for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
                for name, info in sorted(tensors.items()):
                    shape = info.tensor_shape.SerializeToString(deterministic=True)
                    yield f"{kind}\0{name}\0{info.dtype}\0".encode() + shape
            for name, value in sorted(signature.defaults.items()):
                yield f"default\0{name}\0".encode() + value.SerializeToString(deterministic=True)


def _operations(saved: Any) -> Iterator[bytes]:
    """A digest for each distinct operation and how often it is there, sorted."""
    counts: dict[bytes, int] = {}
    for meta_graph in saved.meta_graphs:
        graph = meta_graph.graph_def
        assets = {asset.tensor_info.name.partition(":")[0] for asset in meta_graph.asset_file_def}
        for node in graph.node:
            key = _operation(node, with_value=node.name not in assets)
            counts[key] = counts.get(key, 0) + 1
        for function in graph.library.function:
            for node in function.node_def:
                key = _operation(node)
                counts[key] = counts.get(key, 0) + 1
    for key, count in sorted(counts.items()):
        yield key + count.to_bytes(8, "big")


def _operation(node: Any, *, with_value: bool = True) -> bytes:
    digest = hashlib.sha256(node.op.encode())
    for key, value in sorted(node.attr.items()):
        if key in _UNNAMED_ATTRIBUTES or value.HasField("func") or (key == "value" and not with_value):
            continue
        digest.update(b"\0" + key.encode() + b"\0")
        if value.list.func:
            continue
        digest.update(value.SerializeToString(deterministic=True))
    return digest.digest()
