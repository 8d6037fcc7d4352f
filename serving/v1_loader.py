"""Runs a SavedModel the way TensorFlow Serving does: through the v1 loader, in a session.

`tf.saved_model.load` is no check: it runs models that TensorFlow Serving refuses (Keras 3 models that
`tf.saved_model.save` wrote) and refuses models that TensorFlow Serving runs.

`V1Model` is for checks: it runs by `Session.run`, which looks at shapes in Python and takes 0.1 ms a call. The model
server runs the same graphs ten times faster, by `serving/model_server/session.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from schema.errors import ReleaseError


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a signature.

    Attributes:
        name: the tensor's name in the graph, e.g. `serving_default_examples:0`.
        dtype: TensorFlow dtype name, e.g. `string`, `float32`, `int64`.
        shape: sizes, None for one that is open; or None when the rank is open.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """What can be asked of a model under one name.

    Attributes:
        name: the key, e.g. `serving_default`.
        method_name: e.g. `tensorflow/serving/predict`.
        inputs: input key to tensor.
        outputs: output key to tensor.
        defaults: values of the inputs that a request may leave out.
        proto: the SignatureDef, as GetModelMetadata hands it out.
    """

    name: str
    method_name: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    defaults: dict[str, np.ndarray]
    proto: Any = field(repr=False, compare=False, default=None)


@dataclass(frozen=True)
class LoadedGraph:
    """A SavedModel's graph, in a session of its own, with its variables restored.

    Attributes:
        graph: the tf.Graph.
        session: the tf.compat.v1.Session.
        signatures: signature key to Signature, sorted by key; initialization signatures are left out.
        signature_defs: signature key to SignatureDef, sorted by key; all that the model has.
    """

    graph: Any
    session: Any
    signatures: dict[str, Signature]
    signature_defs: dict[str, Any]

    def close(self) -> None:
        """Frees the session and the graph at once, without waiting for the garbage collector."""
        from tensorflow.python.framework import ops

        self.session.close()
        # Closing alone keeps the variables until nobody refers to the session, be it a traceback that someone keeps.
        self.session.__del__()
        # A graph, its operations and its variables refer to each other, and a full collection stops a server for 0.2 s.
        for name in self.graph.get_all_collection_keys():
            self.graph.clear_collection(name)
        dismantle = getattr(ops, "dismantle_graph", None)
        if dismantle is not None:
            dismantle(self.graph)


def load_graph(path: str | Path, tags: Sequence[str] = ("serve",), config: Any = None) -> LoadedGraph:
    """Loads a SavedModel through the v1 loader.

    Args:
        path: the SavedModel's directory.
        tags: tags of the meta graph.
        config: the session's tf.compat.v1.ConfigProto, or None.

    Raises:
        Exception: whatever the loader raises: OSError, ValueError, RuntimeError, KeyError or tf.errors.OpError.
    """
    import tensorflow as tf

    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with graph.as_default():
            meta = tf.compat.v1.saved_model.load(session, list(tags), str(path))
        # Copies: a part of the meta graph would keep all of it in memory.
        protos = {key: type(proto).FromString(proto.SerializeToString()) for key, proto in meta.signature_def.items()}
        protos = dict(sorted(protos.items()))
        signatures = {key: _signature(key, proto) for key, proto in protos.items() if not key.startswith("__")}
    except BaseException:
        LoadedGraph(graph, session, {}, {}).close()
        raise
    return LoadedGraph(graph, session, signatures, protos)


class V1Model:
    """A SavedModel in a session of its own. A context manager; safe to call from several threads.

    Args:
        path: the SavedModel's directory.
        tags: tags of the meta graph.

    Attributes:
        signatures: signature key to Signature, sorted by key; initialization signatures are left out.

    Raises:
        ReleaseError: TensorFlow Serving's loader would refuse the model.
    """

    def __init__(self, path: str | Path, tags: tuple[str, ...] = ("serve",)) -> None:
        import tensorflow as tf

        self.path = str(path)
        self._calls: dict[tuple[str, tuple[str, ...]], Any] = {}
        try:
            self._loaded = load_graph(path, tags)
        except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as e:
            raise ReleaseError(
                f"{path} must be a SavedModel that the v1 loader takes. Got {type(e).__name__}: {e} instead",
                hint="export through components.trainer.export, or keras.export.ExportArchive",
            ) from e
        self.signatures = self._loaded.signatures

    def __call__(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its key.
            inputs: input key to value; keys with a default may be left out.

        Returns:
            Output key to array.

        Raises:
            ReleaseError: there is no such signature, an input is missing or unknown, or the graph failed.
        """
        import tensorflow as tf

        chosen = self.signatures.get(signature)
        if chosen is None:
            raise ReleaseError(f"signature must be one of {', '.join(self.signatures)}. Got {signature!r} instead")
        unknown = sorted(set(inputs) - set(chosen.inputs))
        missing = sorted(set(chosen.inputs) - set(inputs) - set(chosen.defaults))
        if unknown or missing:
            raise ReleaseError(
                f"inputs of {signature} must be {', '.join(chosen.inputs)}. "
                f"Missing: {missing or 'none'}; unknown: {unknown or 'none'}"
            )
        values = {**chosen.defaults, **inputs}
        keys = tuple(sorted(values))
        try:
            results = self._callable(chosen, keys)(*[_array(values[k], chosen.inputs[k].dtype) for k in keys])
        except (ValueError, TypeError, tf.errors.OpError) as e:
            raise ReleaseError(f"{signature} of {self.path} must run. Got {type(e).__name__}: {e} instead") from e
        return dict(zip(chosen.outputs, results, strict=True))

    def close(self) -> None:
        """Frees the session. The model cannot be called any more."""
        self._calls.clear()
        self._loaded.close()

    def __enter__(self) -> V1Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _callable(self, signature: Signature, keys: tuple[str, ...]) -> Any:
        key = (signature.name, keys)
        if key not in self._calls:
            with self._loaded.graph.as_default():
                self._calls[key] = self._loaded.session.make_callable(
                    [info.name for info in signature.outputs.values()],
                    feed_list=[signature.inputs[k].name for k in keys],
                )
        return self._calls[key]


def _array(value: Any, dtype: str) -> np.ndarray:
    if dtype == "string":
        return np.asarray(value, dtype=object)
    return np.asarray(value, dtype=dtype)


def _signature(key: str, proto: Any) -> Signature:
    import tensorflow as tf

    return Signature(
        name=key,
        method_name=proto.method_name,
        inputs={k: _tensor(proto.inputs[k]) for k in sorted(proto.inputs)},
        outputs={k: _tensor(proto.outputs[k]) for k in sorted(proto.outputs)},
        defaults={k: tf.make_ndarray(proto.defaults[k]) for k in sorted(proto.defaults)},
        proto=proto,
    )


def _tensor(proto: Any) -> TensorInfo:
    import tensorflow as tf

    shape = None
    if not proto.tensor_shape.unknown_rank:
        shape = tuple(None if d.size < 0 else int(d.size) for d in proto.tensor_shape.dim)
    return TensorInfo(proto.name, tf.dtypes.as_dtype(proto.dtype).name, shape)
