"""Model servers for the tests of the client: a fake model behind both APIs."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np

from serving import messages
from serving.model_server import tensor_codec
from serving.model_server.errors import Code, ServingError
from tests.serving.client.fake_model import FakeModel, Seen


class _Grpc(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, model: FakeModel) -> None:
        self.model = model

    def service(self, details: Any) -> Any:
        answer = getattr(self, details.method.rsplit("/", 1)[1], None)
        if answer is None:
            return None

        def handle(body: bytes, context: Any) -> bytes:
            headers = {key: value for key, value in context.invocation_metadata()}
            try:
                result: bytes = answer(body, headers).SerializeToString()
                return result
            except ServingError as error:
                if getattr(error, "wait", None) is not None:
                    context.set_trailing_metadata((("grpc-retry-pushback-ms", str(1000 * error.wait)),))
                context.abort(next(c for c in grpc.StatusCode if c.value[0] == error.code), error.message)
                raise

        return grpc.unary_unary_rpc_method_handler(handle)

    def Predict(self, body: bytes, headers: dict[str, str]) -> Any:
        request = messages.PredictRequest.FromString(body)
        inputs = {name: tensor_codec.to_array(tensor) for name, tensor in request.inputs.items()}
        seen = Seen("Predict", headers, _named(request.model_spec), request.model_spec.signature_name, inputs)
        seen.output_filter = list(request.output_filter)
        self.model.take(seen)
        response = messages.PredictResponse()
        self._spec(response, request)
        for name, array in self.model.predict(seen.signature, inputs).items():
            if not seen.output_filter or name in seen.output_filter:
                tensor_codec.fill_tensor(response.outputs[name], array)
        return response

    def Classify(self, body: bytes, headers: dict[str, str]) -> Any:
        request = messages.ClassificationRequest.FromString(body)
        response = messages.ClassificationResponse()
        for score in self._scores("Classify", request, headers, response):
            classes = response.result.classifications.add().classes
            classes.add(label="no", score=1 - score)
            classes.add(label="yes", score=score)
        return response

    def Regress(self, body: bytes, headers: dict[str, str]) -> Any:
        request = messages.RegressionRequest.FromString(body)
        response = messages.RegressionResponse()
        for score in self._scores("Regress", request, headers, response):
            response.result.regressions.add(value=score)
        return response

    def _scores(self, method: str, request: Any, headers: dict[str, str], response: Any) -> list[float]:
        examples = list(request.input.example_list.examples)
        spec = request.model_spec
        self.model.take(Seen(method, headers, _named(spec), spec.signature_name, {}, examples))
        self._spec(response, request)
        return [self.model.score(example) for example in examples]

    def GetModelMetadata(self, body: bytes, headers: dict[str, str]) -> Any:
        request = messages.GetModelMetadataRequest.FromString(body)
        self.model.take(Seen("GetModelMetadata", headers, _named(request.model_spec)))
        response = messages.GetModelMetadataResponse()
        self._spec(response, request)
        response.metadata["signature_def"].Pack(self.model.signatures())
        return response

    def GetModelStatus(self, body: bytes, headers: dict[str, str]) -> Any:
        request = messages.GetModelStatusRequest.FromString(body)
        self.model.take(Seen("GetModelStatus", headers, _named(request.model_spec)))
        return statuses(self.model)

    def _spec(self, response: Any, request: Any) -> None:
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = self.model.version


def statuses(model: FakeModel) -> Any:
    """Returns the answer to GetModelStatus, the oldest version first (a real server's is the other way round)."""
    response = messages.GetModelStatusResponse()
    failed = response.model_version_status.add(version=model.version - 1, state=messages.ModelVersionStatus.END)
    failed.status.error_code, failed.status.error_message = Code.NOT_FOUND, "no such file"
    response.model_version_status.add(version=model.version, state=messages.ModelVersionStatus.AVAILABLE)
    return response


def _named(spec: Any) -> str:
    if spec.HasField("version"):
        return f"{spec.name}/versions/{spec.version.value}"
    return f"{spec.name}/labels/{spec.version_label}" if spec.version_label else str(spec.name)


_PATH = re.compile(r"/v1/models/([^/:]+(?:/(?:versions|labels)/[^/:]+)?)(?::(\w+)|(/metadata))?")
_HTTP = {Code.UNAVAILABLE: 503, Code.RESOURCE_EXHAUSTED: 429, Code.NOT_FOUND: 404, Code.INTERNAL: 500}


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: FakeModel

    def log_message(self, *unused: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(lambda name, verb: self._look(name, verb))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer(lambda name, verb: self._ask(name, verb, body))

    def _answer(self, answer: Any) -> None:
        found = _PATH.fullmatch(self.path)
        status, headers = 200, {}
        try:
            assert found, self.path
            result = answer(found[1], found[2] or found[3])
        except ServingError as error:
            status, result = _HTTP.get(error.code, 400), {"error": error.message}
            if getattr(error, "wait", None) is not None:
                headers["Retry-After"] = str(error.wait)  # type: ignore[attr-defined]
        content = json.dumps(result).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _look(self, name: str, verb: str | None) -> Any:
        from google.protobuf import json_format

        self.model.take(Seen("GetModelMetadata" if verb else "GetModelStatus", self._headers(), name))
        if not verb:
            return json_format.MessageToDict(statuses(self.model))
        signatures = json_format.MessageToDict(self.model.signatures(), preserving_proto_field_name=True)
        spec = {"name": name.split("/")[0], "signature_name": "", "version": str(self.model.version)}
        return {"model_spec": spec, "metadata": {"signature_def": signatures}}

    def _ask(self, name: str, verb: str, body: Any) -> Any:
        signature = body["signature_name"]
        seen = Seen(verb.title(), self._headers(), name, signature)
        if verb != "predict":
            seen.examples = [_example(example) for example in body["examples"]]
            self.model.take(seen)
            scores = [self.model.score(example) for example in seen.examples]
            if verb == "regress":
                return {"results": scores}
            return {"results": [[["no", 1 - score], ["yes", score]] for score in scores]}
        specs = self.model.signatures().signature_def[signature].inputs
        seen.inputs = {key: _array(value, specs[key].dtype) for key, value in body["inputs"].items()}
        self.model.take(seen)
        if set(seen.inputs) != set(specs):
            raise ServingError(Code.INVALID_ARGUMENT, "Missing named input: x in 'inputs' object.")
        outputs = {key: _json(key, array) for key, array in self.model.predict(signature, seen.inputs).items()}
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}


def _array(value: Any, dtype: int) -> np.ndarray:
    if dtype == messages.DATA_TYPES["DT_STRING"]:
        texts = [base64.b64decode(v["b64"]) if isinstance(v, dict) else v.encode() for v in value]
        return np.array(texts, object)
    integers = dtype == messages.DATA_TYPES["DT_INT64"]
    assert all(isinstance(v, int) for v in value) or not integers
    return np.array(value, np.int64 if integers else np.float32)


def _json(name: str, array: np.ndarray) -> Any:
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in array]
    if array.dtype == object:
        return [[value.decode() for value in row] for row in array]
    return array.tolist()


def _example(features: dict[str, Any]) -> Any:
    example = messages.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        values = [base64.b64decode(v["b64"]) if isinstance(v, dict) else v for v in values]
        kinds = {int: "int64_list", float: "float_list", str: "bytes_list", bytes: "bytes_list"}
        field = getattr(example.features.feature[name], kinds[type(values[0])]).value
        field.extend(v.encode() if isinstance(v, str) else v for v in values)
    return example


@dataclasses.dataclass(frozen=True)
class Certificates:
    """PEM files of a certificate authority and what it signed for `localhost`."""

    ca: Any
    certificate: Any
    key: Any


def grpc_server(model: FakeModel, certificates: Certificates | None = None, *, mutual: bool = False) -> Iterator[int]:
    """Serves by gRPC, and yields the port."""
    server = grpc.server(ThreadPoolExecutor(16), handlers=[_Grpc(model)])
    if certificates is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        pair = (certificates.key.read_bytes(), certificates.certificate.read_bytes())
        ca = certificates.ca.read_bytes() if mutual else None
        credentials = grpc.ssl_server_credentials([pair], ca, mutual)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield port
    model.hold.set()
    server.stop(None).wait()


def http_server(model: FakeModel, certificates: Certificates | None = None, *, mutual: bool = False) -> Iterator[int]:
    """Serves by REST, and yields the port."""
    handler = type("Handler", (_Http,), {"model": model})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    # Clients that go away before their answer are what some tests are about.
    server.handle_error = lambda *unused: None  # type: ignore[method-assign]
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        if mutual:
            context.load_verify_locations(certificates.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_port
    model.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()
