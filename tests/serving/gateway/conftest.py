"""A gateway in front of the embedded server, which stands in for TensorFlow Serving, and the ways to ask either."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message

from schema.serving import ServingConfig
from serving import messages
from serving.client.target import Address
from serving.gateway.server import Gateway
from serving.gateway.upstream import Upstream
from serving.line_server.served_line import ServedLine
from serving.model_server.grpc_server import GrpcServer, GrpcThread
from serving.model_server.loading import LoadOptions
from serving.model_server.manager import Manager
from serving.model_server.model_config import All, ModelConfig, ServerModels
from serving.model_server.rest_server import RestServer
from tests.serving.line_server.conftest import ToyLine, until
from tests.serving.model_server.toy_models import ToyModels

SECONDS = 60
"""For an answer. Generous: it is only waited for when a test fails."""


class Asker:
    """Asks a server.

    Args:
        grpc_port: its gRPC port.
        rest_port: its REST port.
        credentials: for TLS, or None.
        ca: PEM file of who signs its certificate, or None.
    """

    def __init__(self, grpc_port: int, rest_port: int, credentials: Any = None, ca: str | None = None) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        address = f"127.0.0.1:{grpc_port}"
        self.channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )
        url = f"http{'' if ca is None else 's'}://127.0.0.1:{rest_port}"
        self.http = httpx.Client(base_url=url, timeout=SECONDS, verify=True if ca is None else ca, trust_env=False)

    def grpc(self, path: str, raw: bytes | Message, metadata: Any = (), timeout: float = SECONDS) -> tuple[bytes, Any]:
        """Calls a method by its path; returns the answer and what is known of the call."""
        content = raw if isinstance(raw, bytes) else raw.SerializeToString()
        answer, call = self.channel.unary_unary(path).with_call(content, timeout=timeout, metadata=tuple(metadata))
        return answer, call

    def error(self, path: str, raw: bytes | Message, metadata: Any = ()) -> grpc.RpcError:
        """Calls a method that must fail, and returns how it did."""
        with pytest.raises(grpc.RpcError) as caught:
            self.grpc(path, raw, metadata)
        return caught.value

    def predict(self, x: float = 0.0, metadata: Any = (), **spec: Any) -> tuple[int, float]:
        """Asks the toy model by gRPC, and returns the version and its answer."""
        answer, _ = self.grpc(messages.PREDICT.path, predict_request(x, **spec), metadata)
        response = messages.PredictResponse.FromString(answer)
        return response.model_spec.version.value, response.outputs["y"].float_val[0]

    def post(self, body: Any = None, path: str = "/v1/models/toy:predict", **headers: str) -> httpx.Response:
        """Asks the toy model by REST."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else None
        return (
            self.http.post(path, json={"instances": [0.0]} if body is None else body, headers=named)
            if content is None
            else self.http.post(path, content=content, headers=named)
        )

    def close(self) -> None:
        self.channel.close()
        self.http.close()


def predict_request(
    x: float = 0.0, *, model: str = "toy", signature: str = "", version: int | None = None, label: str = ""
) -> Any:
    """Returns a PredictRequest to the toy model."""
    request = messages.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    tensor = request.inputs["x"]
    tensor.dtype = messages.DATA_TYPES["DT_FLOAT"]
    tensor.tensor_shape.dim.add(size=1)
    tensor.float_val.append(x)
    return request


class Behind(Asker):
    """The server behind the gateway: the embedded one, with all versions in the base path.

    Attributes:
        manager: its models.
        upstream: where it is.
    """

    def __init__(self, base: Path, config: ServerModels | None = None) -> None:
        base.mkdir(parents=True, exist_ok=True)
        config = config or ServerModels((ModelConfig("toy", str(base), policy=All()),))
        self.manager = Manager(
            config, file_system_poll_wait_seconds=0.05, load_options=LoadOptions(max_num_load_retries=0)
        )
        self.manager.start()
        self._grpc = GrpcThread(GrpcServer(self.manager, address="127.0.0.1", health=True))
        self._rest = RestServer(self.manager, address="127.0.0.1")
        self._grpc.start()
        self._rest.start()
        super().__init__(self._grpc.server.port or 0, self._rest.port)
        self.upstream = Upstream(f"127.0.0.1:{self._grpc.server.port}", Address("127.0.0.1", self._rest.port))

    def stop(self) -> None:
        self.close()
        self._grpc.stop(0)
        self._rest.stop(0)
        self.manager.stop(timeout=10)


@contextlib.contextmanager
def running(gateway: Gateway) -> Iterator[None]:
    """Runs a gateway in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    gateway.load()
    asyncio.run_coroutine_threadsafe(gateway.start(), loop).result(SECONDS)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(gateway.stop(5), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def served(folder: Path, line: ToyLine, **config: Any) -> ServedLine:
    """Returns the toy line as a gateway serves it."""
    return ServedLine(
        name="toy",
        base_path=line.base,
        ledger=line.ledger.path,
        capture=folder / "capture",
        config=ServingConfig.model_validate(config),
        config_folder=folder,
    )


MakeGateway = Callable[..., tuple[Gateway, Asker]]


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    """Writes toy models; see `ToyModels`."""
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


@pytest.fixture
def toy_line(tmp_path: Path, toy_models: ToyModels) -> ToyLine:
    """A line whose versions N answer x / 2 + N."""
    return ToyLine(tmp_path, toy_models)


@pytest.fixture
def behind(toy_line: ToyLine) -> Iterator[Behind]:
    """A server of all that the line has pushed."""
    server = Behind(toy_line.base)
    yield server
    server.stop()


@pytest.fixture
def make_gateway(tmp_path: Path, toy_line: ToyLine) -> Iterator[MakeGateway]:
    """Makes gateways of the toy line: `make_gateway(upstream, options={}, **config)`; gives it and what asks it."""
    with contextlib.ExitStack() as stack:

        def make(upstream: Upstream, options: dict[str, Any] | None = None, **config: Any) -> tuple[Gateway, Asker]:
            line = served(tmp_path, toy_line, **config)
            gateway = Gateway(line, upstream, host="127.0.0.1", port=0, rest_port=0, **(options or {}))
            stack.enter_context(running(gateway))
            asker = Asker(gateway.port, gateway.rest_port)
            stack.callback(asker.close)
            return gateway, asker

        yield make


__all__ = ["Asker", "Behind", "MakeGateway", "predict_request", "running", "served", "until"]
