"""The embedded server's exchanges, gRPC and REST: a record says the same whichever way the request came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from schema.serving import CaptureConfig
from serving import messages
from serving.capture.hook import CaptureHook, signatures_in
from serving.capture.reader import Captured, CaptureLog, Query
from serving.model_server.errors import Code
from serving.model_server.grpc_server import GrpcServer, GrpcThread
from serving.model_server.manager import Manager
from serving.model_server.model_config import ServerModels
from serving.model_server.rest_server import RestServer
from serving.model_server.tensor_codec import tensor_bytes, to_array
from tests.serving.capture.exchanges import example, strings
from tests.serving.model_server.toy_models import ToyModels


class Server:
    """Both APIs of the toy model, captured.

    Args:
        manager: serves it as `toy`.
        root: where requests are captured.
    """

    def __init__(self, manager: Manager, root: Path) -> None:
        self._root = root
        self.hook = CaptureHook(root, "toys", CaptureConfig(), find_signatures=signatures_in(manager))
        self.hook.start()
        server = GrpcServer(manager, address="127.0.0.1", hooks=self.hook)
        self._grpc = GrpcThread(server)
        self._grpc.start()
        self._rest = RestServer(manager, address="127.0.0.1", hooks=self.hook)
        self._rest.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self._rest.port}")

    def call(self, method: messages.Method, request: Any, request_id: str, caller_key: str = "") -> Any:
        """Calls a gRPC method."""
        headers = [("x-request-id", request_id), ("x-caller-key", caller_key)]
        return self._channel.unary_unary(method.path, request_serializer=bytes, response_deserializer=bytes)(
            request.SerializeToString(), metadata=headers, timeout=60
        )

    def post(self, path: str, body: Any, request_id: str, caller_key: str = "") -> httpx.Response:
        """Calls a REST method of the model."""
        headers = {"x-request-id": request_id, "x-caller-key": caller_key}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._http.post(f"/v1/models/{path}", content=content, headers=headers, timeout=60)

    def stop(self) -> None:
        """Ends it, with all that was captured in files."""
        self._channel.close()
        self._http.close()
        self._grpc.stop(5)
        self._rest.stop(5)
        assert self.hook.stop(60)

    def captured(self, request_id: str) -> Captured:
        """Ends it and returns the one record of a request."""
        self.stop()
        (found,) = CaptureLog(self._root).read(Query(request_id=request_id))
        return found


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    folder = tmp_path_factory.mktemp("toy")
    ToyModels(folder / "template").write(folder / "models", 3)
    manager = Manager(ServerModels.single("toy", folder / "models"), file_system_poll_wait_seconds=0)
    manager.start()
    yield manager
    manager.stop(timeout=10)


@pytest.fixture
def server(manager: Manager, tmp_path: Path) -> Iterator[Server]:
    server = Server(manager, tmp_path)
    yield server
    server.stop()


def _predict(signature: str, **inputs: np.ndarray) -> Any:
    request = messages.PredictRequest()
    request.model_spec.name = "toy"
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].MergeFromString(tensor_bytes(array))
    return request


INPUTS: dict[str, dict[str, np.ndarray]] = {
    "serving_default": {"x": np.array([1.5, np.nan], np.float32)},
    "": {"x": np.array([1.5], np.float32)},
    "predict_multi": {"words": strings("a", "ü"), "counts": np.array([3, -(2**60)])},
    "matrix": {"m": np.array([[1, 2.5], [3, 4]], np.float32)},
    "uneven": {"x": np.array([1.5, 2.5], np.float32)},
}


@pytest.mark.parametrize("signature", INPUTS)
def test_predict_by_both_apis_is_the_same_record(server: Server, tmp_path: Path, signature: str) -> None:
    inputs = INPUTS[signature]
    server.call(messages.PREDICT, _predict(signature, **inputs), "by-grpc", "key")
    columns = {name: [_json(value) for value in array.tolist()] for name, array in inputs.items()}
    body = json.dumps({"inputs": columns, "signature_name": signature or "serving_default"}).encode()
    assert server.post("toy:predict", body, "by-rest", "key").status_code == 200
    by_grpc = server.captured("by-grpc")
    (by_rest,) = CaptureLog(tmp_path).read(Query(request_id="by-rest"))
    for captured, api in ((by_grpc, "gRPC"), (by_rest, "REST")):
        capture = captured.metadata.capture
        assert (capture.api, capture.line, capture.caller_key) == (api, "toys", "key")
        assert (captured.version, captured.code, captured.entrypoint) == (3, Code.OK, "Predict")
        assert not capture.request_body
    one, other = (captured.log().predict_log for captured in (by_grpc, by_rest))
    assert set(one.request.inputs) == set(other.request.inputs) == set(inputs)
    for name in inputs:
        np.testing.assert_array_equal(to_array(one.request.inputs[name]), to_array(other.request.inputs[name]))
    assert set(one.response.outputs) == set(other.response.outputs) != set()
    for name in one.response.outputs:
        first, second = to_array(one.response.outputs[name]), to_array(other.response.outputs[name])
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    assert one.response.model_spec == other.response.model_spec


def _json(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_by_rest(server: Server, rows: int) -> None:
    body = {"signature_name": "predict_multi", "instances": [{"words": "a", "counts": 3}] * rows}
    assert server.post("toy:predict", body, "rows").status_code == 200
    log = server.captured("rows").log().predict_log
    assert to_array(log.request.inputs["words"]).tolist() == [b"a"] * rows
    outputs = {name: to_array(tensor).tolist() for name, tensor in log.response.outputs.items()}
    assert outputs == {"upper": [b"A"] * rows, "doubled": [6] * rows, "words_bytes": [b"a"] * rows}


@pytest.mark.parametrize(("action", "method"), [("classify", messages.CLASSIFY), ("regress", messages.REGRESS)])
def test_examples_by_both_apis_are_the_same_record(
    server: Server, tmp_path: Path, action: str, method: messages.Method
) -> None:
    request = method.request()
    request.model_spec.name = "toy"
    request.model_spec.signature_name = action
    request.input.example_list.examples.extend([example(x=[0.25]), example(x=[0.5])])
    server.call(method, request, "by-grpc")
    body = {"signature_name": action, "examples": [{"x": 0.25}, {"x": 0.5}]}
    assert server.post(f"toy:{action}", body, "by-rest").status_code == 200
    one = getattr(server.captured("by-grpc").log(), f"{action}_log")
    (by_rest,) = CaptureLog(tmp_path).read(Query(request_id="by-rest"))
    other = getattr(by_rest.log(), f"{action}_log")
    assert one == other
    assert one.request == request and one.response.result.ByteSize()


@pytest.mark.parametrize("api", ["gRPC", "REST"])
@pytest.mark.parametrize(
    ("model", "signature", "code"), [("other", "", "NOT_FOUND"), ("toy", "fails", "INVALID_ARGUMENT")]
)
def test_a_failed_request_is_kept(server: Server, api: str, model: str, signature: str, code: str) -> None:
    if api == "gRPC":
        request = _predict(signature, x=np.array([1], np.float32))
        request.model_spec.name = model
        with pytest.raises(grpc.RpcError):
            server.call(messages.PREDICT, request, "failed")
    else:
        body = {"instances": [1.0], **({"signature_name": signature} if signature else {})}
        assert server.post(f"{model}:predict", body, "failed").status_code in (400, 404)
    captured = server.captured("failed")
    assert captured.code.name == code
    assert captured.metadata.capture.message
    assert captured.metadata.model_spec.name == model
    log = captured.log().predict_log
    assert log.request.model_spec.name == model and not log.HasField("response")
    if api == "gRPC" or model == "toy":
        assert to_array(log.request.inputs["x"]).tolist() == [1.0]
    else:
        assert captured.metadata.capture.request_body


def test_a_body_that_is_no_json_is_kept_as_it_is(server: Server) -> None:
    assert server.post("toy:predict", b'{"instances": [', "odd").status_code == 400
    captured = server.captured("odd")
    assert captured.metadata.capture.request_body == b'{"instances": ['
    assert captured.code == Code.INVALID_ARGUMENT
