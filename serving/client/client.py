"""The blocking client and the asynchronous one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from schema.errors import UsageError
from serving.client.batches import Keys
from serving.client.caller import Again, Caller, Options
from serving.client.calls import Protocols, Tensors, VersionStatus
from serving.client.core import Core
from serving.client.grpc_calls import GrpcCalls
from serving.client.grpc_senders import AsyncGrpc, BlockingGrpc
from serving.client.http_senders import AsyncHttp, BlockingHttp
from serving.client.rest_calls import RestCalls
from serving.client.results import Predictions
from serving.client.retry import Retry
from serving.client.rows import Rows
from serving.client.rules import read_rules
from serving.client.senders import Sender
from serving.client.signatures import Metadata
from serving.client.target import DEFAULT_PORTS, Address, Api, Model, Tls

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")


class ClientOptions(TypedDict, total=False):
    """What a client may be told besides model and address. What each means: see `Client`."""

    api: Api
    version: int | None
    label: str | None
    schema: Path | str | None
    tls: Tls | None
    token: str | None
    batch_rows: int
    in_flight: int
    deadline_seconds: float
    retry: Retry
    on_retry: Callable[[Again], None] | None


def connect(model: str, address: str, options: ClientOptions, *, concurrent: bool) -> Core:
    """Makes what both clients are made of. Nothing is sent yet."""
    api = options.get("api", "gRPC")
    if api not in DEFAULT_PORTS:
        raise UsageError(f"api must be one of {', '.join(DEFAULT_PORTS)}. Got {api!r} instead")
    wanted = Model(model, options.get("version"), options.get("label"))
    where = Address.parse(address, api)
    asking = Options(
        where=f"the model {wanted} at {where} ({api})",
        batch_rows=options.get("batch_rows", 1000),
        in_flight=options.get("in_flight", 4),
        deadline_seconds=options.get("deadline_seconds", 60.0),
        retry=options.get("retry", Retry()),
        token=options.get("token"),
        on_retry=options.get("on_retry"),
    )
    protocols: Protocols = GrpcCalls() if api == "gRPC" else RestCalls()
    schema = options.get("schema")
    rules = {} if schema is None else read_rules(Path(schema))
    return Core(
        wanted, protocols, Caller(_sender(api, where, options.get("tls"), concurrent=concurrent), asking), rules
    )


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of a client whose sender blocks: it ends at its first step."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("a blocking sender must not wait for an event loop")


def _sender(api: Api, address: Address, tls: Tls | None, *, concurrent: bool) -> Sender:
    """Returns the sender of an API."""
    if api == "gRPC":
        return AsyncGrpc(address, tls) if concurrent else BlockingGrpc(address, tls)
    return AsyncHttp(address, tls) if concurrent else BlockingHttp(address, tls)


class Client:
    """Asks a served model, from the thread that calls. Safe for several threads; a context manager.

    Args:
        model: the model's name on the server; Conveyor serves a line under the line's name.
        address: `HOST:PORT`, or `HOST` for TensorFlow Serving's ports 8500 (gRPC) and 8501 (REST).
        api: `gRPC` or `REST`.
        version: the version to ask. By default the server chooses.
        label: or its label, such as `canary`.
        schema: a line's curated schema (`schema.pbtxt`): rows are held against it before they are sent.
        tls: TLS. By default none.
        token: a bearer token.
        batch_rows: rows a request, at most.
        in_flight: requests under way at a time, at most (`AsyncClient`).
        deadline_seconds: how long a call may take, retries and all batches included.
        retry: when a request is sent again that was answered UNAVAILABLE or RESOURCE_EXHAUSTED (503 or 429).
        on_retry: is told of each request that is sent again.

    Every call raises `CallFailed` when the server does not answer or answers with an error, `BadRows` when rows do not
    fit (nothing is sent then), and `UsageError` when the call itself is wrong.
    """

    def __init__(self, model: str, address: str = "127.0.0.1", **options: Unpack[ClientOptions]) -> None:
        self._core = connect(model, address, options, concurrent=False)

    def predict(
        self,
        rows: Rows,
        *,
        signature: str | None = None,
        outputs: Sequence[str] = (),
        key: Keys = None,
        request_id: str | None = None,
    ) -> Predictions:
        """Predicts raw rows, in batches.

        Args:
            rows: one row (a mapping of columns to values), rows, or columns (a mapping to lists or arrays, a pandas
                DataFrame, a pyarrow Table). A value that is None, NaN or empty text, or left out, is missing.
            signature: by default `serving_raw`, or else `serving_default`.
            outputs: the outputs wanted. By default all.
            key: the caller's own key, one for all rows or one a row: for a later join with labels, and so that a
                caller always gets the same version while a canary is under way. Rows of another key go in a request of
                their own.
            request_id: sent as `x-request-id`. By default a new one a request.
        """
        return run(self._core.predict(rows, signature, outputs, key, request_id))

    def predict_tensors(
        self,
        tensors: Mapping[str, Any],
        *,
        signature: str | None = None,
        outputs: Sequence[str] = (),
        key: str | None = None,
        request_id: str | None = None,
    ) -> Tensors:
        """Predicts of whole tensors, in one request, for models that do not take a value a row.

        Args:
            tensors: input key to array, or to what numpy makes one of.
            signature: by default `serving_raw`, or else `serving_default`.
            outputs: the outputs wanted. By default all.
            key: the caller's own key.
            request_id: sent as `x-request-id`. By default a new one.
        """
        return run(self._core.predict_tensors(tensors, signature, outputs, key, request_id))

    def classify(
        self, rows: Rows, *, signature: str | None = None, key: Keys = None, request_id: str | None = None
    ) -> list[list[tuple[str, float]]]:
        """Classifies raw rows, which are sent as tf.Examples: classes with scores, for each.

        Args:
            rows: see `predict`.
            signature: by default `classify`, or else `serving_default`.
            key: see `predict`.
            request_id: see `predict`.
        """
        return run(self._core.classify(rows, signature, key, request_id))

    def regress(
        self, rows: Rows, *, signature: str | None = None, key: Keys = None, request_id: str | None = None
    ) -> list[float]:
        """Regresses raw rows, which are sent as tf.Examples: a number for each.

        Args:
            rows: see `predict`.
            signature: by default `regress`, or else `serving_default`.
            key: see `predict`.
            request_id: see `predict`.
        """
        return run(self._core.regress(rows, signature, key, request_id))

    def metadata(self) -> Metadata:
        """Returns the model's signatures. The server is asked once only."""
        return run(self._core.metadata())

    def status(self) -> list[VersionStatus]:
        """Returns the states of the model's versions, the newest first."""
        return run(self._core.status())

    def close(self) -> None:
        """Closes connections."""
        run(self._core.caller.close())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


class AsyncClient:
    """Asks a served model from an event loop, `in_flight` batches at a time; an asynchronous context manager.

    Arguments, methods and errors are those of `Client`.
    """

    def __init__(self, model: str, address: str = "127.0.0.1", **options: Unpack[ClientOptions]) -> None:
        self._core = connect(model, address, options, concurrent=True)

    async def predict(
        self,
        rows: Rows,
        *,
        signature: str | None = None,
        outputs: Sequence[str] = (),
        key: Keys = None,
        request_id: str | None = None,
    ) -> Predictions:
        """See `Client.predict`."""
        return await self._core.predict(rows, signature, outputs, key, request_id)

    async def predict_tensors(
        self,
        tensors: Mapping[str, Any],
        *,
        signature: str | None = None,
        outputs: Sequence[str] = (),
        key: str | None = None,
        request_id: str | None = None,
    ) -> Tensors:
        """See `Client.predict_tensors`."""
        return await self._core.predict_tensors(tensors, signature, outputs, key, request_id)

    async def classify(
        self, rows: Rows, *, signature: str | None = None, key: Keys = None, request_id: str | None = None
    ) -> list[list[tuple[str, float]]]:
        """See `Client.classify`."""
        return await self._core.classify(rows, signature, key, request_id)

    async def regress(
        self, rows: Rows, *, signature: str | None = None, key: Keys = None, request_id: str | None = None
    ) -> list[float]:
        """See `Client.regress`."""
        return await self._core.regress(rows, signature, key, request_id)

    async def metadata(self) -> Metadata:
        """See `Client.metadata`."""
        return await self._core.metadata()

    async def status(self) -> list[VersionStatus]:
        """See `Client.status`."""
        return await self._core.status()

    async def close(self) -> None:
        """Closes connections."""
        await self._core.caller.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self.close()
