"""A version of a model, loaded and ready to be asked."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.model_server.errors import Code, ServingError
from serving.model_server.session import SessionOptions, make_callable
from serving.v1_loader import LoadedGraph, Signature, load_graph

MAX_CALLS = 64
"""Combinations of inputs and outputs that are kept prepared: a client may name any subset of the outputs."""

# `DataTypeString` of TensorFlow where it is not NumPy's name.
_TENSORFLOW_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


_Key = tuple[str, frozenset[str], frozenset[str]]


@dataclasses.dataclass(frozen=True)
class _Call:
    """A prepared combination: `run` takes `feeds` in order; a fetch's value is at its place in the results."""

    run: Callable[..., Any]
    feeds: tuple[str, ...]
    places: dict[str, int]
    whole: bool


class Servable:
    """A SavedModel in a session of its own. Safe to use from several threads.

    Args:
        name: the model's name.
        version: its version.
        path: the SavedModel's directory.
        options: how its session is made.

    Attributes:
        name: the model's name.
        version: its version.
        path: the SavedModel's directory.
        signatures: signature key to Signature, sorted by key; initialization signatures are left out.
        signature_defs: signature key to SignatureDef, sorted by key; all that the model has, as metadata lists them.

    Raises:
        ServingError: it cannot be loaded, with TensorFlow's code and words.
    """

    def __init__(self, name: str, version: int, path: str | Path, options: SessionOptions | None = None) -> None:
        self.name = name
        self.version = version
        self.path = Path(path)
        self._options = options or SessionOptions()
        self._loaded: LoadedGraph | None = _load(self.path, self._options)
        self.signatures: dict[str, Signature] = self._loaded.signatures
        self.signature_defs: dict[str, Any] = self._loaded.signature_defs
        self._calls: dict[_Key, _Call] = {}
        self._preparing = threading.Lock()

    def run(self, signature: Signature, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Runs a signature. Nothing is checked or filled in but what TensorFlow checks.

        Args:
            signature: one of `signatures`.
            feeds: input key to array; strings as object arrays of bytes. An input that is left out is not fed, not
                even when the signature has a default for it.
            fetches: output keys.

        Returns:
            One array a fetch, in the order of `fetches`; rank 0 as an array too.

        Raises:
            ServingError: the graph failed, with TensorFlow's code and words.
            KeyError: a key is not one of the signature's.
        """
        key = (signature.name, frozenset(feeds), frozenset(fetches))
        try:
            call = self._calls.get(key) or self._prepare(signature, key)
            results = call.run(*[feeds[alias] for alias in call.feeds])
        except KeyError:
            raise
        except Exception as error:
            raise _explained(error, signature, feeds) from error
        places = call.places
        return [_array(results[places[alias]]) for alias in fetches]

    def close(self) -> None:
        """Frees the session and its memory. Whoever runs the servable afterwards gets a ServingError."""
        loaded, self._loaded = self._loaded, None
        with self._preparing:
            self._calls.clear()
        if loaded is not None:
            loaded.close()

    def _prepare(self, signature: Signature, key: _Key) -> _Call:
        with self._preparing:
            call = self._calls.get(key)
            if call is not None:
                return call
            loaded = self._loaded
            if loaded is None:
                raise ServingError(
                    Code.UNAVAILABLE, f"Servable {{name: {self.name} version: {self.version}}} is closed"
                )
            feeds, fetches = tuple(sorted(key[1])), tuple(sorted(key[2]))
            run = make_callable(
                loaded.session,
                [signature.inputs[alias].name for alias in feeds],
                [signature.outputs[alias].name for alias in fetches],
                self._options.thread_pool,
            )
            places = {alias: place for place, alias in enumerate(fetches)}
            call = _Call(run, feeds, places, whole=len(fetches) == len(signature.outputs))
            if len(self._calls) >= MAX_CALLS:
                # The oldest subset goes: what asks for all outputs must not suffer from a client that tries them all.
                self._calls.pop(next((k for k, c in self._calls.items() if not c.whole), key), None)
            self._calls[key] = call
            return call


def _array(value: Any) -> np.ndarray:
    if type(value) is np.ndarray:
        return value
    return np.asarray(value, dtype=object if isinstance(value, bytes) else None)


def _explained(error: Exception, signature: Signature, feeds: Mapping[str, np.ndarray]) -> ServingError:
    if isinstance(error, ServingError):
        return error
    # A session checks the dtypes before it runs and says so otherwise than a callable does. Feeds count by tensor name.
    named = sorted((signature.inputs[alias].name, alias) for alias in feeds)
    for place, (_, alias) in enumerate(named):
        dtype = np.asarray(feeds[alias]).dtype
        got, expected = "string" if dtype.kind in "OSU" else dtype.name, signature.inputs[alias].dtype
        if got != expected:
            got, expected = (_TENSORFLOW_NAMES.get(name, name) for name in (got, expected))
            message = f"Expects arg[{place}] to be {expected} but {got} is provided"
            return ServingError(Code.INVALID_ARGUMENT, message)
    return from_tensorflow(error)


def from_tensorflow(error: Exception) -> ServingError:
    """Returns an exception that TensorFlow raised with its code and words."""
    code, message = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return ServingError(Code(code), message)
    if isinstance(error, UnicodeDecodeError):
        # A kernel that quotes the request in its message: TensorFlow's Python fails on that, and hides the code.
        return ServingError(Code.INVALID_ARGUMENT, error.object.decode(errors="replace"))
    if isinstance(error, (ValueError, TypeError)):
        return ServingError(Code.INVALID_ARGUMENT, str(error))
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def _load(path: Path, options: SessionOptions) -> LoadedGraph:
    try:
        return load_graph(path, options.tags, options.config())
    except Exception as error:
        raise _not_loaded(error, path, options.tags) from error


def _not_loaded(error: Exception, path: Path, tags: Sequence[str]) -> ServingError:
    # Python's loader has words of its own for what the C++ loader of TensorFlow Serving says.
    if isinstance(error, OSError):
        files = [path / name for name in ("saved_model.pb", "saved_model.pbtxt") if (path / name).exists()]
        if not files:
            return ServingError(
                Code.NOT_FOUND,
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. Check that the "
                "directory exists and that you have the right permissions for accessing it.",
            )
        if isinstance(error.__cause__, Exception):
            return ServingError(Code.DATA_LOSS, f"Can't parse {files[0]} as binary proto")
    if isinstance(error, RuntimeError) and "MetaGraphDef" in str(error):
        return ServingError(
            Code.NOT_FOUND,
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        )
    return from_tensorflow(error)
