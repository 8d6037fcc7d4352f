"""What is asked and answered, whichever API carries it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from serving.client.examples import Features
from serving.client.signatures import Metadata, SignatureSpec
from serving.client.target import Api, Model
from serving.model_server.errors import Code


@dataclasses.dataclass(frozen=True)
class Call:
    """A request, ready to be sent as often as need be.

    Attributes:
        path: the method's path in gRPC, the URL's path in REST.
        body: the serialized message, or the JSON body; empty for a GET.
        get: REST: whether it is a GET.
    """

    path: str
    body: bytes
    get: bool = False


@dataclasses.dataclass(frozen=True)
class Tensors:
    """The answer to Predict.

    Attributes:
        outputs: output key to array.
        version: the version that answered, or None when the server does not tell (REST).
    """

    outputs: Mapping[str, np.ndarray]
    version: int | None


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of one version of a model.

    Attributes:
        version: the version.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`.
        code: `OK`, or why it failed.
        message: the failure in words; empty for none.
    """

    version: int
    state: str
    code: Code
    message: str


class Protocols(Protocol):
    """How questions become requests, and bodies become answers; the same for gRPC and REST.

    Reading raises ValueError for a body that is no such answer.
    """

    api: Api

    def predict(
        self, model: Model, signature: SignatureSpec, tensors: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> Call:
        """Returns a Predict request."""

    def read_predict(self, body: bytes, signature: SignatureSpec, outputs: Sequence[str]) -> Tensors:
        """Reads the answer to it."""

    def classify(self, model: Model, signature: str, examples: Sequence[Features]) -> Call:
        """Returns a Classify request."""

    def read_classify(self, body: bytes) -> list[list[tuple[str, float]]]:
        """Reads the answer to it: classes with scores, for each example."""

    def regress(self, model: Model, signature: str, examples: Sequence[Features]) -> Call:
        """Returns a Regress request."""

    def read_regress(self, body: bytes) -> list[float]:
        """Reads the answer to it: a number for each example."""

    def metadata(self, model: Model) -> Call:
        """Returns a GetModelMetadata request."""

    def read_metadata(self, body: bytes) -> Metadata:
        """Reads the answer to it."""

    def status(self, model: Model) -> Call:
        """Returns a GetModelStatus request."""

    def read_status(self, body: bytes) -> list[VersionStatus]:
        """Reads the answer to it, the newest version first."""
