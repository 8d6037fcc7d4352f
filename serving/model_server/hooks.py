"""What stands around a prediction: the choice of a version before it, and the record of it afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from serving.model_server.errors import Code

if TYPE_CHECKING:
    import numpy as np

Api = Literal["gRPC", "REST"]
Entrypoint = Literal["Predict", "Classify", "Regress", "MultiInference"]


@dataclasses.dataclass(frozen=True)
class ModelSpecQuery:
    """The model that a request asks for.

    Attributes:
        name: the model's name.
        version: the version asked for, or None.
        label: the version label asked for, or None; never together with a version.
    """

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Tensors:
    """What the bodies of a Predict request and its answer say, so that whoever takes note of them need not read them.

    Attributes:
        inputs: input key to array.
        outputs: output key to array.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A request and its answer, as they went over the wire.

    Attributes:
        api: which of the two APIs.
        entrypoint: the method.
        model: the model's name.
        version: the version that answered, or None when none did.
        signature: the signature that the request named; empty for the default one.
        request: gRPC: the serialized request message; REST: the body, decoded if it was compressed.
        response: gRPC: the serialized response message; REST: the body. Empty for an error.
        code: `OK`, or how it failed.
        message: the error's message; empty when it did not fail.
        request_id: minted here or taken from the caller.
        caller_key: the caller's own key for a later join with labels, or empty.
        started: when the request came, seconds since the epoch.
        seconds: how long it took here.
        tensors: what REST bodies came to, where that is at hand.
    """

    api: Api
    entrypoint: Entrypoint
    model: str
    version: int | None
    signature: str
    request: bytes
    response: bytes
    code: Code
    message: str
    request_id: str
    caller_key: str
    started: float
    seconds: float
    tensors: Tensors | None = dataclasses.field(default=None, compare=False, repr=False)


class Hooks(Protocol):
    """What a server calls around each prediction. Neither may block or raise."""

    def route(self, query: ModelSpecQuery, caller_key: str, request_id: str) -> ModelSpecQuery:
        """Returns the version to ask, where the request leaves a choice."""
        ...

    def done(self, exchange: Exchange) -> None:
        """Takes note of an exchange."""
        ...


class NoHooks:
    """The server alone: nothing is routed and nothing is kept."""

    def route(self, query: ModelSpecQuery, caller_key: str, request_id: str) -> ModelSpecQuery:
        """Returns the query as it is."""
        return query

    def done(self, exchange: Exchange) -> None:
        """Forgets the exchange."""
