"""What goes through the gateway is what the server has said: answers and errors, by either API, byte for byte."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import messages
from serving.gateway.server import Gateway
from serving.model_server.metrics import PATH
from tests.serving.gateway.conftest import Asker, Behind, predict_request, running, served, until
from tests.serving.line_server.conftest import ToyLine
from tests.serving.model_server.toy_models import ToyModels

ANY = "x-request-id"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, toy_models: ToyModels) -> Iterator[tuple[Asker, Asker]]:
    """What asks the server itself, and what asks it through the gateway. Version 2 of `toy` is live, 1 is there too."""
    folder = tmp_path_factory.mktemp("both")
    line = ToyLine(folder, toy_models)
    line.push(1, 2)
    behind = Behind(line.base)
    until(lambda: len(behind.manager.statuses("toy")) == 2 and behind.manager.ready)
    gateway = Gateway(served(folder, line), behind.upstream, host="127.0.0.1", port=0, rest_port=0)
    with running(gateway):
        until(lambda: gateway.models.split.stable == 2)
        through = Asker(gateway.port, gateway.rest_port)
        yield behind, through
        through.close()
    behind.stop()


def examples(request: Any, signature: str = "regress", model: str = "toy") -> Any:
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for x in (1.0, 2.0):
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(x)
    return request


def multi(*tasks: tuple[str, str]) -> Any:
    request = messages.MultiInferenceRequest()
    for signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "toy", signature
    request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1.0)
    return request


def metadata_request(*fields: str, model: str = "toy") -> Any:
    request = messages.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = model
    return request


def status_request(model: str = "toy", version: int | None = None) -> Any:
    request = messages.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    return request


def without_inputs() -> Any:
    request = predict_request()
    del request.inputs["x"]
    return request


def bad_tensor() -> Any:
    request = predict_request()
    request.inputs["x"].dtype = messages.DATA_TYPES["DT_STRING"]
    return request


PREDICT, CLASSIFY, REGRESS = messages.PREDICT.path, messages.CLASSIFY.path, messages.REGRESS.path
MULTI, METADATA, STATUS = (
    messages.MULTI_INFERENCE.path,
    messages.GET_MODEL_METADATA.path,
    messages.GET_MODEL_STATUS.path,
)
CALLS: dict[str, tuple[str, Any]] = {
    "predict": (PREDICT, predict_request(3.0)),
    "predict a version": (PREDICT, predict_request(3.0, version=1)),
    "predict another signature": (PREDICT, predict_request(3.0, signature="any_shape")),
    "classify": (CLASSIFY, examples(messages.ClassificationRequest(), "classify")),
    "regress": (REGRESS, examples(messages.RegressionRequest())),
    "multi-inference": (MULTI, multi(("classify", "classify"), ("regress", "regress"))),
    "metadata": (METADATA, metadata_request("signature_def")),
    "status": (STATUS, status_request()),
    "health": (messages.HEALTH_CHECK.path, messages.HealthCheckRequest(service="ModelService")),
    "no spec": (PREDICT, messages.PredictRequest()),
    "no name": (PREDICT, predict_request(model="")),
    "unknown model": (PREDICT, predict_request(model="m")),
    "unknown version": (PREDICT, predict_request(version=5)),
    "unknown label": (PREDICT, predict_request(label="L")),
    "unknown signature": (PREDICT, predict_request(signature="s")),
    "unknown signature, classify": (CLASSIFY, examples(messages.ClassificationRequest(), "s")),
    "no examples": (REGRESS, messages.RegressionRequest(model_spec=messages.ModelSpec(name="toy"))),
    "input left out": (PREDICT, without_inputs()),
    "bad tensor": (PREDICT, bad_tensor()),
    "the model fails": (PREDICT, predict_request(signature="fails")),
    "a task twice": (MULTI, multi(("regress", "regress"), ("regress", "regress"))),
    "no task": (MULTI, messages.MultiInferenceRequest()),
    "no field": (METADATA, metadata_request()),
    "another field": (METADATA, metadata_request("X")),
    "status of an unknown model": (STATUS, status_request("m")),
    "status of an unknown version": (STATUS, status_request("toy", 5)),
    "reload of nothing": (messages.RELOAD_CONFIG.path, messages.ReloadConfigRequest()),
    "health of an unknown service": (messages.HEALTH_CHECK.path, messages.HealthCheckRequest(service="x")),
    "no message": (PREDICT, b"\xff\xff\xff"),
    "an unknown method": ("/tensorflow.serving.PredictionService/PredictX", b"\x01\x02"),
    "an unknown service": ("/a.B/C", b""),
}


def told(asker: Asker, path: str, request: Any) -> tuple[Any, ...]:
    """Returns all that a caller is told."""
    try:
        answer, call = asker.grpc(path, request, [(ANY, "mine")])
    except grpc.RpcError as error:
        return error.code(), error.details(), tuple(error.initial_metadata()), tuple(error.trailing_metadata())
    return answer, tuple(call.initial_metadata()), tuple(call.trailing_metadata())


def signatures(answer: bytes) -> Any:
    """Returns what GetModelMetadata has answered."""
    found = messages.SignatureDefMap()
    assert messages.GetModelMetadataResponse.FromString(answer).metadata["signature_def"].Unpack(found)
    return found


@pytest.mark.parametrize("name", CALLS)
def test_grpc(both: tuple[Asker, Asker], name: str) -> None:
    path, request = CALLS[name]
    direct, through = (told(asker, path, request) for asker in both)
    if name == "metadata":
        # Nothing orders what is in a map.
        direct, through = ((signatures(found[0]), *found[1:]) for found in (direct, through))
    if name.startswith(("an unknown", "health")):
        # The embedded server has no id for what it does not know.
        assert through[:2] == direct[:2]
    else:
        assert through == direct


BODY = {"instances": [1.0, 3.0]}
REST: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "predict": ("POST", "/v1/models/toy:predict", BODY, {}),
    "predict in columns": ("POST", "/v1/models/toy:predict", {"inputs": {"x": [1.0]}}, {}),
    "predict a version": ("POST", "/v1/models/toy/versions/1:predict", BODY, {}),
    "predict a label": ("POST", "/v1/models/toy/labels/L:predict", BODY, {}),
    "packed": (
        "POST",
        "/v1/models/toy:predict",
        gzip.compress(json.dumps(BODY).encode()),
        {"content-encoding": "gzip"},
    ),
    "packed badly": ("POST", "/v1/models/toy:predict", b"no gzip", {"content-encoding": "gzip"}),
    "NaN": ("POST", "/v1/models/toy:predict", b'{"instances": [NaN]}', {}),
    "classify": ("POST", "/v1/models/toy:classify", {"signature_name": "classify", "examples": [{"x": 1.0}]}, {}),
    "regress": ("POST", "/v1/models/toy:regress", {"signature_name": "regress", "examples": [{"x": 1.0}]}, {}),
    "status": ("GET", "/v1/models/toy", None, {}),
    "status of a version": ("GET", "/v1/models/toy/versions/1", None, {}),
    "metadata": ("GET", "/v1/models/toy/metadata", None, {}),
    "no model": ("GET", "/v1/models", None, {}),
    "unknown model": ("POST", "/v1/models/m:predict", BODY, {}),
    "unknown version": ("POST", "/v1/models/toy/versions/5:predict", BODY, {}),
    "version too large": ("POST", "/v1/models/toy/versions/99999999999999999999:predict", BODY, {}),
    "unknown signature": ("POST", "/v1/models/toy:predict", {"signature_name": "s", **BODY}, {}),
    "signature of another type": ("POST", "/v1/models/toy:predict", {"signature_name": 1, **BODY}, {}),
    "no JSON": ("POST", "/v1/models/toy:predict", b"{", {}),
    "no body": ("POST", "/v1/models/toy:predict", b"", {}),
    "no object": ("POST", "/v1/models/toy:predict", b"[1]", {}),
    "wrong type": ("POST", "/v1/models/toy:predict", {"instances": ["a"]}, {}),
    "neither form": ("POST", "/v1/models/toy:predict", {}, {}),
    "upper case": ("POST", "/V1/Models/toy:PREDICT", BODY, {}),
    "a query": ("POST", "/v1/models/toy:predict?a=b", BODY, {}),
    "PUT": ("PUT", "/v1/models/toy:predict", BODY, {}),
    "DELETE": ("DELETE", "/v1/models/toy", None, {}),
    "HEAD": ("HEAD", "/v1/models/toy", None, {}),
    "preflight": ("OPTIONS", "/v1/models/toy:predict", None, {"origin": "http://x"}),
    "another path": ("GET", "/no/such/page", None, {}),
    "characters in the path": ("GET", "/v1/models/t%20o'y%2F", None, {}),
}


def answered(asker: Asker, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[Any, ...]:
    """Returns all that a caller is answered."""
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    response: httpx.Response = asker.http.request(method, path, content=content, headers={ANY: "mine", **headers})
    named = sorted(
        (name, value) for name, value in response.headers.multi_items() if name not in ("date", "connection")
    )
    return response.status_code, named, response.content


@pytest.mark.parametrize("name", REST)
def test_rest(both: tuple[Asker, Asker], name: str) -> None:
    direct, through = (answered(asker, *REST[name]) for asker in both)
    assert through == direct


@settings(max_examples=30)
@given(st.sampled_from([PREDICT, CLASSIFY, REGRESS, MULTI]), st.binary(max_size=50), st.booleans())
def test_whatever_is_sent_by_grpc(both: tuple[Asker, Asker], path: str, junk: bytes, behind: bool) -> None:
    request = predict_request().SerializeToString() + junk if behind else junk
    direct, through = (told(asker, path, request) for asker in both)
    assert through == direct


@settings(max_examples=30)
@given(
    st.sampled_from(["predict", "classify", "regress"]),
    st.one_of(
        st.binary(max_size=50),
        st.recursive(st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3)), st.lists).map(
            lambda value: json.dumps({"instances": value, "examples": value}).encode()
        ),
    ),
    st.booleans(),
)
def test_whatever_is_sent_by_rest(both: tuple[Asker, Asker], action: str, body: bytes, packed: bool) -> None:
    headers = {"content-encoding": "gzip"} if packed else {}
    content = gzip.compress(body) if packed else body
    direct, through = (answered(asker, "POST", f"/v1/models/toy:{action}", content, headers) for asker in both)
    assert through == direct


def test_the_gateway_has_pages_of_its_own(both: tuple[Asker, Asker]) -> None:
    _, through = both
    assert through.http.get("/healthz").status_code == 200
    assert through.http.get("/readyz").status_code == 200
    through.predict()
    page = through.http.get(PATH).text
    assert ':tensorflow:serving:request_count{model_name="toy",status="OK"}' in page
    assert 'conveyor_gateway_ready{line="toy"} 1.0' in page
    assert "conveyor_capture_records_total" in page and "conveyor_shadow_requests" in page


def test_every_answer_has_an_id(both: tuple[Asker, Asker]) -> None:
    _, through = both
    ids = [dict(through.grpc(PREDICT, predict_request())[1].trailing_metadata())[ANY] for _ in range(2)]
    ids += [through.post().headers[ANY] for _ in range(2)]
    assert len(set(ids)) == 4


def test_the_server_is_asked_where_its_methods_are_of_streams(both: tuple[Asker, Asker], tmp_path: Path) -> None:
    _, through = both
    watch = through.channel.unary_stream(messages.HEALTH_WATCH.path)(b"", timeout=60)
    status = messages.HealthCheckResponse.FromString(next(watch)).status
    assert status == messages.HealthCheckResponse.ServingStatus.Value("SERVING")
    watch.cancel()
