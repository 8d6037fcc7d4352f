"""Predict requests that differ from an earlier one in their tensors' values only, as those of one client mostly do.

Parsing such a request, checking it against the signature and writing the answer's frame around the values takes longer
than running a small model. So what an earlier request came to is kept as a plan: the bytes around the values, and what
they mean. A later request of the same length with the same bytes in these places means the same.
"""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.model_server import tensor_types
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.model_spec import spec_bytes
from serving.model_server.predict import fetches_of, find_signature, response_bytes
from serving.model_server.tensor_codec import tensor_bytes, to_array
from serving.model_server.wire import delimited, fields

if TYPE_CHECKING:
    from serving.model_server.predict import CheckRows, ObserveRun
    from serving.model_server.servable import Servable
    from serving.v1_loader import Signature

_MAX_FRAME_BYTES = 4096
_MAX_LENGTHS = 512
_PLANS_A_LENGTH = 4
_MAX_BINDINGS = 8
# Where requests do not repeat, one in so many is tried again, in case that others have come.
_RETRY = 64

_INPUTS, _KEY, _TENSOR = 2, 1, 2
_DELIMITED = 2
_TENSOR_CONTENT = 4
# Those fields whose bytes are the values themselves: tensor_content, float_, double_, string_, scomplex_, dcomplex_val.
_VALUES = frozenset({_TENSOR_CONTENT, 5, 6, 8, 9, 12})


@dataclasses.dataclass(frozen=True)
class _Values:
    """Where an input's values are in the request, and what array they make."""

    key: str
    start: int
    end: int
    dtype: np.dtype
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Frame:
    """An answer without its values. `before[i]` goes before those of output i, `after` after the last."""

    kinds: list[tuple[np.dtype, tuple[int, ...]]]
    before: list[bytes]
    after: bytes


@dataclasses.dataclass
class _Binding:
    """What a plan comes to with one servable, which it does not keep alive."""

    servable: weakref.ref[Servable]
    signature: Signature
    fetches: list[str]
    answer: _Frame | None = None


class Plan:
    """What the requests with one frame mean.

    Args:
        request: the PredictRequest that it is made from.
        query: the model that it asks for.
        frame: start, end and content of all that is not values.
        values: the inputs.

    Attributes:
        query: the model that they ask for.
        signature_name: the signature that they name; empty for the default one.
    """

    def __init__(
        self, request: Any, query: ModelSpecQuery, frame: list[tuple[int, int, bytes]], values: list[_Values]
    ) -> None:
        self.query = query
        self.signature_name: str = request.model_spec.signature_name
        self._output_filter = list(request.output_filter)
        self._frame = frame
        self._values = values
        self._rows = max((v.shape[0] for v in values if v.shape), default=1)
        self._bindings: dict[int, _Binding] = {}

    def fits(self, raw: bytes) -> bool:
        """Returns whether a request of the right length has this frame."""
        for start, end, content in self._frame:  # noqa: SIM110 - a generator takes twice as long
            if raw[start:end] != content:
                return False
        return True

    def bind(self, servable: Servable) -> None:
        """Lets a servable answer, which has answered such a request without a plan and without an error."""
        signature = find_signature(servable, self.signature_name)
        if {v.key for v in self._values} != set(signature.inputs):
            return
        if len(self._bindings) >= _MAX_BINDINGS:
            self._bindings.clear()
        binding = _Binding(weakref.ref(servable), signature, fetches_of(signature, self._output_filter))
        self._bindings[id(servable)] = binding

    def answer(
        self,
        servable: Servable,
        raw: bytes,
        *,
        as_content: bool,
        check_rows: CheckRows | None = None,
        observe_run: ObserveRun | None = None,
    ) -> bytes | None:
        """Answers a request that fits, as `predict.predict_bytes` would; returns None if the servable is not bound."""
        binding = self._bindings.get(id(servable))
        if binding is None or binding.servable() is not servable:
            return None
        feeds = {}
        for v in self._values:
            # The slice is an object of its own, and so aligned.
            content = raw[v.start : v.end]
            if v.dtype.hasobject:
                array = np.empty(1, object)
                array[0] = content
            else:
                array = np.frombuffer(content, v.dtype)
            feeds[v.key] = array.reshape(v.shape)
        if check_rows is not None:
            check_rows(self._rows)
        started = time.perf_counter()
        outputs = servable.run(binding.signature, feeds, binding.fetches)
        if observe_run is not None:
            observe_run(time.perf_counter() - started)
        frame = binding.answer
        if frame is None or [(o.dtype, o.shape) for o in outputs] != frame.kinds:
            frame = binding.answer = self._framed(servable, binding, outputs, as_content)
            if frame is None:
                named = dict(zip(binding.fetches, outputs, strict=True))
                return response_bytes(self.query.name, self.signature_name, servable.version, named, as_content)
        parts = []
        for before, output in zip(frame.before, outputs, strict=True):
            parts.append(before)
            parts.append(output.tobytes())
        parts.append(frame.after)
        return b"".join(parts)

    def _framed(
        self, servable: Servable, binding: _Binding, outputs: Sequence[np.ndarray], as_content: bool
    ) -> _Frame | None:
        before = []
        for key, output in zip(binding.fetches, outputs, strict=True):
            kind = tensor_types.by_dtype(output.dtype)
            if kind is None or kind.layout == "string" or not (as_content or kind.layout == "fixed"):
                return None
            entry = delimited(1, delimited(1, key.encode()) + delimited(2, tensor_bytes(output, as_content)))
            before.append(entry[: len(entry) - output.nbytes])
        spec = spec_bytes(self.query.name, self.signature_name, servable.version)
        return _Frame([(o.dtype, o.shape) for o in outputs], before, delimited(2, spec))


class Plans:
    """The plans of a server. To be used from one thread only."""

    def __init__(self) -> None:
        self._lengths: dict[int, list[Plan]] = {}
        self._misses: dict[int, int] = {}

    def find(self, raw: bytes) -> Plan | None:
        """Returns the plan that a request fits, if there is one."""
        for plan in self._lengths.get(len(raw), ()):
            if plan.fits(raw):
                return plan
        return None

    def learn(self, raw: bytes, request: Any, query: ModelSpecQuery, servable: Servable) -> None:
        """Makes a plan of a request that no plan fitted.

        Args:
            raw: the serialized request.
            request: the PredictRequest.
            query: the model that it asks for, before any routing.
            servable: the model that has answered it without an error.
        """
        length = len(raw)
        if length not in self._misses and len(self._misses) >= _MAX_LENGTHS:
            self._lengths.clear()
            self._misses.clear()
        misses = self._misses[length] = self._misses.get(length, 0) + 1
        if misses > 2 * _PLANS_A_LENGTH and misses % _RETRY:
            return
        plan = _plan(raw, request, query)
        if plan is not None:
            plan.bind(servable)
            self._lengths[length] = [plan, *self._lengths.get(length, ())][:_PLANS_A_LENGTH]


def _plan(raw: bytes, request: Any, query: ModelSpecQuery) -> Plan | None:
    places = _places(raw)
    if places is None:
        return None
    values = []
    for key, (field, start, end) in sorted(places.items(), key=lambda item: item[1][1]):
        array = to_array(request.inputs[key])
        kind = tensor_types.by_dtype(array.dtype)
        if kind is None or (kind.layout == "string" and (field != kind.field_number or array.size != 1)):
            return None
        if kind.layout != "string" and array.tobytes() != raw[start:end]:
            # Values cut off or filled up.
            return None
        if field != kind.field_number and (field != _TENSOR_CONTENT or kind.name == "bool"):
            # A field of another type; booleans that may be neither 0 nor 1.
            return None
        values.append(_Values(key, start, end, array.dtype, array.shape))
    edges = [0, *(edge for v in values for edge in (v.start, v.end)), len(raw)]
    frame = [(start, end, raw[start:end]) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    if sum(len(content) for _, _, content in frame) > _MAX_FRAME_BYTES:
        return None
    return Plan(request, query, frame, values)


def _places(raw: bytes) -> dict[str, tuple[int, int, int]] | None:
    """Returns of each input the field that holds its values, their start and their end; None if not each has just one.

    What is repeated is merged or overwritten, which depends on more than lengths. So there is no plan for it.
    """
    places: dict[str, tuple[int, int, int]] = {}
    try:
        for number, kind, start, end in fields(raw, 0, len(raw)):
            if number != _INPUTS:
                continue
            entry = sorted(fields(raw, start, end)) if kind == _DELIMITED else []
            if [(n, k) for n, k, _, _ in entry] != [(_KEY, _DELIMITED), (_TENSOR, _DELIMITED)]:
                return None
            key = raw[entry[0][2] : entry[0][3]].decode()
            held = [place for place in fields(raw, entry[1][2], entry[1][3]) if place[0] in _VALUES]
            if len(held) != 1 or held[0][1] != _DELIMITED or key in places:
                return None
            places[key] = (held[0][0], held[0][2], held[0][3])
    except ValueError:
        return None
    return places
