"""Who answers a request again: a version's SavedModel in this process, or a server."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from schema.errors import ReleaseError
from serving.client.calls import Call
from serving.client.errors import CallFailed, SendFailed
from serving.client.senders import Sender
from serving.model_server.errors import Code, ServingError
from serving.replay.requests import METHODS

REPLAY_PREFIX = "replay-"
"""What the ids of requests that are asked again begin with, for a server that captures them."""


class Answerer(Protocol):
    """Answers requests to one version."""

    inputs: Collection[str]
    """The raw columns that the model takes; empty when that is not known."""

    def answer(self, entrypoint: str, request: Any, request_id: str) -> bytes:
        """Returns the serialized answer.

        Args:
            entrypoint: the method.
            request: the request's message, of `serving.messages`.
            request_id: the id that it had.

        Raises:
            ServingError: the answer is an error.
        """

    def close(self) -> None:
        """Frees what it holds."""


class LocalModel:
    """A version's SavedModel, loaded and asked as the embedded server does it, each request by itself.

    Args:
        name: the model's name.
        version: the version.
        folder: its SavedModel's directory.

    Raises:
        ReleaseError: it cannot be loaded.
    """

    def __init__(self, name: str, version: int, folder: Path) -> None:
        from serving.model_server.servable import Servable

        try:
            self._servable = Servable(name, version, folder)
        except ServingError as error:
            raise ReleaseError(
                f"{folder}: version {version} must be a model that can be loaded. Got {error.message} instead",
                hint="restore it from a backup, or replay with --server",
            ) from None
        raw = self._servable.signatures.get("serving_raw")
        self.inputs: Collection[str] = frozenset(raw.inputs) if raw is not None else frozenset()

    def answer(self, entrypoint: str, request: Any, request_id: str) -> bytes:
        """See `Answerer`."""
        from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, regression_pb2

        from serving.model_server.classify import classify_with
        from serving.model_server.multi_inference import multi_inference_with
        from serving.model_server.predict import predict_bytes
        from serving.model_server.regress import regress_with

        body = request.SerializeToString()
        if entrypoint == "Predict":
            return predict_bytes(self._servable, predict_pb2.PredictRequest.FromString(body))
        if entrypoint == "Classify":
            answer = classify_with(self._servable, classification_pb2.ClassificationRequest.FromString(body))
        elif entrypoint == "Regress":
            answer = regress_with(self._servable, regression_pb2.RegressionRequest.FromString(body))
        else:
            answer = multi_inference_with(self._servable, inference_pb2.MultiInferenceRequest.FromString(body))
        return bytes(answer.SerializeToString())

    def close(self) -> None:
        """See `Answerer`."""
        self._servable.close()


class RemoteModel:
    """A server of TensorFlow Serving's gRPC API.

    Args:
        sender: the way to it, a blocking one.
        where: its address, for messages.
        token: the bearer token, or None.
        seconds: how long each request may take.
    """

    def __init__(self, sender: Sender, where: str, token: str | None, seconds: float) -> None:
        self._sender = sender
        self._where = where
        self._token = token
        self._seconds = seconds
        self.inputs: Collection[str] = frozenset()

    def answer(self, entrypoint: str, request: Any, request_id: str) -> bytes:
        """See `Answerer`. The server is told another id, so that a capture of the replay is not taken for the first.

        Raises:
            CallFailed: the server cannot be reached.
        """
        headers = [("x-request-id", REPLAY_PREFIX + request_id)]
        if self._token is not None:
            headers.append(("authorization", f"Bearer {self._token}"))
        call = Call(METHODS[entrypoint].path, request.SerializeToString())
        try:
            return asyncio.run(self._sender.send(call, self._seconds, headers))
        except SendFailed as error:
            if error.code == Code.UNAVAILABLE:
                hint = "start it, or leave --server out to ask the models in this process"
                raise CallFailed(error.code, error.message, where=self._where, hint=hint) from None
            raise ServingError(error.code, error.message) from None

    def close(self) -> None:
        """See `Answerer`: its sender is closed by who opened it."""
