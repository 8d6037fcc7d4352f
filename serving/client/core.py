"""The client itself, written once for the blocking and the asynchronous one.

All of it is `async`, and waits for nothing but its sender. A blocking sender never waits for an event loop, so that
the blocking client can run these coroutines to their end by one step (`serving.client.client.run`).
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from schema.errors import UsageError
from serving.client.batches import Keys, cut, name_request
from serving.client.caller import Caller
from serving.client.calls import Call, Protocols, Tensors, VersionStatus
from serving.client.encoding import Encoded, Encoder, whole_tensor
from serving.client.errors import CallFailed
from serving.client.examples import serialize
from serving.client.results import Batch, Predictions, join
from serving.client.rows import Rows
from serving.client.rules import ColumnRule
from serving.client.signatures import DEFAULT, Metadata, SignatureSpec
from serving.client.target import Model
from serving.model_server.errors import Code

T = TypeVar("T")

_CHANGED = (Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION)
"""What a server says to a request that was made for another version of the model."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How rows go to a signature: what `predict` finds out before it encodes.

    Attributes:
        signature: the signature that will be called.
        encoder: makes requests of rows for it.
    """

    signature: SignatureSpec
    encoder: Encoder


class Core:
    """What both clients do.

    Args:
        model: the model that is asked for.
        protocols: gRPC's or REST's way of asking.
        caller: asks the server.
        rules: the curated schema's rules by column.
    """

    def __init__(self, model: Model, protocols: Protocols, caller: Caller, rules: Mapping[str, ColumnRule]) -> None:
        self.model = model
        self.caller = caller
        self._protocols = protocols
        self.rules = rules
        self._metadata: Metadata | None = None

    async def metadata(self, ends: float | None = None, *, again: bool = False) -> Metadata:
        """Returns what the server says about the model; it is asked once only, unless `again`."""
        if self._metadata is None or again:
            ends = self.caller.ends() if ends is None else ends
            body = await self.caller.ask(self._protocols.metadata(self.model), ends)
            self._metadata = self.caller.read(self._protocols.read_metadata, body)
        return self._metadata

    async def status(self) -> list[VersionStatus]:
        """Returns the states of the model's versions, the newest first."""
        body = await self.caller.ask(self._protocols.status(self.model), self.caller.ends())
        return self.caller.read(self._protocols.read_status, body)

    async def plan(self, signature: str | None, ends: float | None = None) -> Plan:
        """Finds out how rows go to a signature."""
        metadata = await self.metadata(ends)
        chosen = metadata.signature(signature)
        return Plan(chosen, Encoder(metadata, chosen, self.rules))

    async def predict(
        self, rows: Rows, signature: str | None, outputs: Sequence[str], keys: Keys, request_id: str | None
    ) -> Predictions:
        """Encodes rows and predicts. Where the model has changed since its metadata was read, once more."""
        ends = self.caller.ends()
        before = self._metadata
        plan = await self.plan(signature, ends)
        try:
            encoded = plan.encoder.encode(rows).checked()
            return await self.predict_encoded(plan, encoded, outputs, keys, request_id, ends)
        except CallFailed as error:
            if before is None or error.code not in _CHANGED:
                raise
            if (await self.metadata(ends, again=True)).signatures == before.signatures:
                raise
        plan = await self.plan(signature, ends)
        encoded = plan.encoder.encode(rows).checked()
        return await self.predict_encoded(plan, encoded, outputs, keys, request_id, ends)

    async def predict_encoded(
        self,
        plan: Plan,
        encoded: Encoded,
        outputs: Sequence[str] = (),
        keys: Keys = None,
        request_id: str | None = None,
        ends: float | None = None,
    ) -> Predictions:
        """Predicts the rows of `encoded` that fit, in batches; without `ends`, each batch has a deadline of its own."""
        for name in outputs:
            if name not in plan.signature.outputs:
                known = ", ".join(plan.signature.outputs)
                raise UsageError(f"outputs must be of {plan.signature.name!r}: {known}. Got {name!r} instead")
        tensors = encoded.tensors
        if encoded.examples is not None:
            (name,) = plan.signature.inputs
            serialized = np.empty(len(encoded.examples), object)
            serialized[:] = [serialize(features) for features in encoded.examples]
            tensors = {name: serialized}
        by_row = {name for name in tensors if plan.signature.inputs[name].by_row}
        parts = list(cut(encoded.good, encoded.total, keys, self.caller.options.batch_rows))

        async def ask(position: int) -> Batch:
            start, stop, key = parts[position]
            part = {name: array[start:stop] if name in by_row else array for name, array in tensors.items()}
            named = name_request(request_id, position, len(parts))
            call = self._protocols.predict(self.model, plan.signature, part, outputs)
            body = await self.caller.ask(call, self.caller.ends() if ends is None else ends, named, key)
            answer = self.caller.read(lambda b: self._protocols.read_predict(b, plan.signature, outputs), body, named)
            if answer.version is None:
                answer = dataclasses.replace(answer, version=self.model.version)
            return Batch(encoded.good[start:stop], answer, named)

        batches = await self.caller.all([functools.partial(ask, position) for position in range(len(parts))])
        return self.caller.read(lambda _: join(plan.signature, batches, outputs), b"")

    async def predict_tensors(
        self,
        tensors: Mapping[str, Any],
        signature: str | None,
        outputs: Sequence[str],
        key: str | None,
        request_id: str | None,
    ) -> Tensors:
        """Predicts of whole tensors, in one request."""
        ends = self.caller.ends()
        chosen = (await self.metadata(ends)).signature(signature)
        named = request_id or uuid.uuid4().hex
        arrays = {name: whole_tensor(name, value, chosen) for name, value in tensors.items()}
        for spec in chosen.inputs.values():
            # REST wants them all, with a default or without.
            if spec.name not in arrays and spec.default is not None and self._protocols.api == "REST":
                arrays[spec.name] = spec.default
        body = await self.caller.ask(self._protocols.predict(self.model, chosen, arrays, outputs), ends, named, key)
        return self.caller.read(lambda b: self._protocols.read_predict(b, chosen, outputs), body, named)

    async def classify(
        self, rows: Rows, signature: str | None, keys: Keys, request_id: str | None
    ) -> list[list[tuple[str, float]]]:
        """Classifies rows: classes with scores, for each."""
        protocols = self._protocols
        return await self._of_examples(
            rows, signature, "classify", keys, request_id, protocols.classify, protocols.read_classify
        )

    async def regress(self, rows: Rows, signature: str | None, keys: Keys, request_id: str | None) -> list[float]:
        """Regresses rows: a number for each."""
        protocols = self._protocols
        return await self._of_examples(
            rows, signature, "regress", keys, request_id, protocols.regress, protocols.read_regress
        )

    async def _of_examples(
        self,
        rows: Rows,
        signature: str | None,
        usual: str,
        keys: Keys,
        request_id: str | None,
        make: Callable[..., Call],
        read: Callable[[bytes], list[T]],
    ) -> list[T]:
        ends = self.caller.ends()
        metadata = await self.metadata(ends)
        name = signature or (usual if usual in metadata.signatures else DEFAULT)
        encoder = Encoder(metadata, metadata.signature(name), self.rules, examples=True)
        encoded = encoder.encode(rows).checked()
        examples = list(encoded.examples or ())
        parts = list(cut(encoded.good, encoded.total, keys, self.caller.options.batch_rows))

        async def ask(position: int) -> list[T]:
            start, stop, key = parts[position]
            named = name_request(request_id, position, len(parts))
            body = await self.caller.ask(make(self.model, name, examples[start:stop]), ends, named, key)
            return self.caller.read(lambda b: _as_many(read(b), stop - start), body, named)

        answers = await self.caller.all([functools.partial(ask, position) for position in range(len(parts))])
        return [one for answer in answers for one in answer]


def _as_many(results: list[T], rows: int) -> list[T]:
    if len(results) != rows:
        raise ValueError(f"{len(results)} results for {rows} rows")
    return results
