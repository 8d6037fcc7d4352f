"""Predict requests that differ from an earlier one in their tensors' values only, as those of one client mostly do.

Checking such a request against the signature and writing the answer's frame around the values takes as long as running
a small model. So what an earlier request came to is kept as a plan, and holds for all requests with its frame.
"""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.model_server import tensor_types
from serving.model_server.crowd import Room
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.model_spec import spec_bytes
from serving.model_server.predict import fetches_of, find_signature, output_entry, response_bytes
from serving.model_server.predict_frame import Frame, Values, frame_of
from serving.model_server.wire import delimited

if TYPE_CHECKING:
    from serving.model_server.predict import CheckRows, ObserveRun
    from serving.model_server.servable import Servable
    from serving.v1_loader import Signature

_PLANS_A_SIZE = 8
_MAX_BINDINGS = 8
# Entries of an answer that are kept for each output whose values have no fixed length.
_MAX_ENTRIES = 256
_MAX_ENTRY_BYTES = 1024
_MAX_KEPT_VALUES = 64
# Where requests do not repeat, one in so many is tried again, in case that others have come.
_RETRY = 64


@dataclasses.dataclass(frozen=True)
class _Slot:
    """An output's place in an answer: what comes before its bytes; or, where its length depends on its values as with
    texts, the whole entries of values that were there before, of which a classifier has few."""

    before: bytes | None
    entries: dict[Hashable, bytes] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _AnswerFrame:
    """An answer without its values, for outputs of these dtypes and shapes; `after` comes after the last."""

    kinds: list[tuple[np.dtype, tuple[int, ...]]]
    slots: list[_Slot]
    after: bytes


@dataclasses.dataclass
class Binding:
    """What a plan comes to with one servable, which it does not keep alive.

    Attributes:
        servable: the servable.
        signature: the signature that answers.
        fetches: the outputs wanted.
        answer: the frame of the last answer.
        room: how many such requests may run together.
    """

    servable: weakref.ref[Servable]
    signature: Signature
    fetches: list[str]
    answer: _AnswerFrame | None = None
    room: Room = dataclasses.field(default_factory=Room)


class Plan:
    """What the requests with one frame mean.

    Args:
        request: the PredictRequest that it is made from.
        query: the model that it asks for.
        frame: the request without its values.

    Attributes:
        query: the model that they ask for.
        signature_name: the signature that they name; empty for the default one.
        frame: the request without its values.
    """

    def __init__(self, request: Any, query: ModelSpecQuery, frame: Frame) -> None:
        self.query = query
        self.signature_name: str = request.model_spec.signature_name
        self.frame = frame
        self._output_filter = list(request.output_filter)
        self._bindings: dict[int, Binding] = {}

    def bind(self, servable: Servable) -> None:
        """Lets a servable answer, which has answered such a request without a plan and without an error."""
        signature = find_signature(servable, self.signature_name)
        if self.frame.keys != signature.inputs.keys():
            return
        if len(self._bindings) >= _MAX_BINDINGS:
            self._bindings.clear()
        binding = Binding(weakref.ref(servable), signature, fetches_of(signature, self._output_filter))
        self._bindings[id(servable)] = binding

    def binding(self, servable: Servable) -> Binding | None:
        """Returns what the plan comes to with a servable, or None if it is not bound."""
        binding = self._bindings.get(id(servable))
        return binding if binding is not None and binding.servable() is servable else None

    def response(self, servable: Servable, binding: Binding, outputs: Sequence[np.ndarray], as_content: bool) -> bytes:
        """Returns the serialized PredictResponse.

        Args:
            servable: what has answered.
            binding: what the plan comes to with it.
            outputs: an array for each of `binding.fetches`.
            as_content: write `tensor_content` instead of the typed fields.
        """
        frame = binding.answer
        if frame is None or [(o.dtype, o.shape) for o in outputs] != frame.kinds:
            frame = binding.answer = self._framed(servable, binding, outputs, as_content)
            if frame is None:
                named = dict(zip(binding.fetches, outputs, strict=True))
                return response_bytes(self.query.name, self.signature_name, servable.version, named, as_content)
        parts = []
        for slot, key, output in zip(frame.slots, binding.fetches, outputs, strict=True):
            if slot.before is None:
                parts.append(_kept_entry(slot.entries, key, output, as_content))
            else:
                parts.append(slot.before)
                parts.append(output.tobytes())
        parts.append(frame.after)
        return b"".join(parts)

    def _framed(
        self, servable: Servable, binding: Binding, outputs: Sequence[np.ndarray], as_content: bool
    ) -> _AnswerFrame | None:
        slots = []
        for key, output in zip(binding.fetches, outputs, strict=True):
            kind = tensor_types.by_dtype(output.dtype)
            if kind is None:
                return None
            if kind.layout == "fixed" or (as_content and kind.layout != "string"):
                entry = output_entry(key, output, as_content)
                slots.append(_Slot(entry[: len(entry) - output.nbytes]))
            else:
                slots.append(_Slot(None))
        spec = spec_bytes(self.query.name, self.signature_name, servable.version)
        return _AnswerFrame([(o.dtype, o.shape) for o in outputs], slots, delimited(2, spec))


def _kept_entry(entries: dict[Hashable, bytes], key: str, output: np.ndarray, as_content: bool) -> bytes:
    if output.size > _MAX_KEPT_VALUES:
        return output_entry(key, output, as_content)
    values: Hashable = tuple(output.ravel().tolist()) if output.dtype.hasobject else output.tobytes()
    entry = entries.get(values)
    if entry is None:
        entry = output_entry(key, output, as_content)
        if len(entries) < _MAX_ENTRIES and len(entry) <= _MAX_ENTRY_BYTES:
            entries[values] = entry
    return entry


class Planned:
    """A request that fits a plan.

    Attributes:
        plan: the plan.
        values: the values of its inputs.
    """

    __slots__ = ("plan", "values")

    def __init__(self, plan: Plan, values: Values) -> None:
        self.plan = plan
        self.values = values

    def answer(
        self,
        servable: Servable,
        *,
        as_content: bool,
        check_rows: CheckRows | None = None,
        observe_run: ObserveRun | None = None,
    ) -> bytes | None:
        """Answers as `predict.predict_bytes` would; returns None if the servable is not bound to the plan."""
        plan = self.plan
        binding = plan.binding(servable)
        if binding is None:
            return None
        if check_rows is not None:
            check_rows(plan.frame.rows)
        started = time.perf_counter()
        outputs = servable.run(binding.signature, plan.frame.arrays([self.values]), binding.fetches)
        if observe_run is not None:
            observe_run(time.perf_counter() - started)
        return plan.response(servable, binding, outputs, as_content)


class Plans:
    """The plans of a server. To be used from one thread only."""

    def __init__(self) -> None:
        # By the order of magnitude of a request's length, so that few are tried.
        self._sizes: dict[int, list[Plan]] = {}
        self._misses: dict[int, int] = {}

    def find(self, raw: bytes) -> Planned | None:
        """Returns a request by the plan that it fits, if there is one."""
        for plan in self._sizes.get(len(raw).bit_length(), ()):
            values = plan.frame.read(raw)
            if values is not None:
                return Planned(plan, values)
        return None

    def learn(self, raw: bytes, request: Any, query: ModelSpecQuery, servable: Servable) -> None:
        """Makes a plan of a request that no plan fitted.

        Args:
            raw: the serialized request.
            request: the PredictRequest.
            query: the model that it asks for, before any routing.
            servable: the model that has answered it without an error.
        """
        size = len(raw).bit_length()
        misses = self._misses[size] = self._misses.get(size, 0) + 1
        if misses > 2 * _PLANS_A_SIZE and misses % _RETRY:
            return
        frame = frame_of(raw, request)
        if frame is not None:
            plan = Plan(request, query, frame)
            plan.bind(servable)
            self._sizes[size] = [plan, *self._sizes.get(size, ())][:_PLANS_A_SIZE]
