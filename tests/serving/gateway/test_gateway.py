"""What the gateway does around the requests that it passes on: canary, shadow, capture, tokens, TLS, limits."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving import messages
from serving.capture.reader import CaptureLog
from serving.gateway import models as models_module
from serving.gateway.server import Gateway
from serving.model_server.errors import Code
from serving.model_server.metrics import PATH
from serving.traffic import Split
from tests.serving.gateway.conftest import Asker, Behind, MakeGateway, predict_request, running, served, until
from tests.serving.line_server.conftest import ToyLine
from tests.serving.model_server.certificates import Authority, written

PREDICT = messages.PREDICT.path


def captured(folder: Path, *, shadow: bool = False) -> dict[str, Any]:
    """Returns the records, by request id. The gateway has ended, or what is open is read as well."""
    log = CaptureLog(folder / "capture")
    found = {one.metadata.capture.request_id: one for one in log.read() if (one.shadow is not None) is shadow}
    return found


@pytest.mark.parametrize("api", ["gRPC", "REST"])
def test_canary_promotion_and_rollback(toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway, api: str) -> None:
    toy_line.push(1, 2)
    gateway, asker = make_gateway(behind.upstream)

    def version(key: str) -> int:
        if api == "gRPC":
            number, y = asker.predict(metadata=[("x-caller-key", key)])
            assert number == y
            return number
        return round(asker.post(x_caller_key=key).json()["predictions"][0])

    until(lambda: gateway.models.split == Split("toy", stable=2))
    assert version("") == 2
    toy_line.canary(1, 0.5)
    until(lambda: gateway.models.split == Split("toy", stable=2, canary=1, share=0.5))
    first = {key: version(key) for key in map(str, range(30))}
    assert set(first.values()) == {1, 2}
    assert {key: version(key) for key in first} == first
    toy_line.promote()
    until(lambda: gateway.models.split == Split("toy", stable=1))
    assert {version(key) for key in first} == {1}


def test_what_names_a_version_is_not_led(toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway) -> None:
    toy_line.push(1, 2)
    gateway, asker = make_gateway(behind.upstream)
    until(lambda: gateway.models.split.stable == 2)
    assert asker.predict(version=1) == (1, 1.0)
    assert asker.post(path="/v1/models/toy/versions/1:predict").json() == {"predictions": [1.0]}


def test_multi_inference_is_led(toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway) -> None:
    toy_line.push(1, 2)
    toy_line.canary(1, 1.0)
    gateway, asker = make_gateway(behind.upstream)
    until(lambda: gateway.models.split.canary == 1)
    request = messages.MultiInferenceRequest()
    for signature, method in (("regress", "regress"), ("classify", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "toy", signature
    request.input.example_list.examples.add()
    answer, _ = asker.grpc(messages.MULTI_INFERENCE.path, request)
    results = messages.MultiInferenceResponse.FromString(answer).results
    assert [one.model_spec.version.value for one in results] == [1, 1]
    assert results[0].regression_result.regressions[0].value == 1.0


def test_capture(toy_line: ToyLine, behind: Behind, tmp_path: Path) -> None:
    toy_line.push(1)
    gateway = Gateway(served(tmp_path, toy_line), behind.upstream, host="127.0.0.1", port=0, rest_port=0)
    with running(gateway):
        asker = Asker(gateway.port, gateway.rest_port)
        until(lambda: gateway.models.split.stable == 1)
        asker.predict(3.0, [("x-request-id", "g"), ("x-caller-key", "ada")])
        asker.post({"signature_name": "serving_default", "instances": [3.0]}, x_request_id="r", x_caller_key="bob")
        asker.error(PREDICT, predict_request(signature="s"), [("x-request-id", "e")])
        asker.post({"instances": ["a"]}, x_request_id="f")
        asker.post(path="/v1/models/toy/versions/9:predict", x_request_id="n")
        asker.close()
    found = captured(tmp_path)
    assert set(found) == {"g", "r", "e", "f", "n"}
    for key, caller in (("g", "ada"), ("r", "bob")):
        log, metadata = found[key].log().predict_log, found[key].metadata
        # What came by REST is kept as the messages that it would have been by gRPC.
        assert log.request.inputs["x"].float_val[:] == [3.0]
        assert log.response.outputs["y"].float_val[:] == [2.5]
        assert (found[key].version, log.response.model_spec.version.value) == (1, 1)
        assert metadata.capture.caller_key == caller and metadata.capture.seconds > 0
    assert found["r"].metadata.model_spec.signature_name == "serving_default"
    errors = {key: (found[key].metadata.capture.code, found[key].version) for key in ("e", "f", "n")}
    assert errors == {
        "e": (Code.FAILED_PRECONDITION, 1),
        "f": (Code.INVALID_ARGUMENT, 1),
        "n": (Code.NOT_FOUND, None),
    }
    assert "Serving signature key" in found["e"].metadata.capture.message
    assert "is not of expected type: float" in found["f"].metadata.capture.message


def test_the_shadow_gets_copies_and_its_answers_are_compared(toy_line: ToyLine, behind: Behind, tmp_path: Path) -> None:
    toy_line.push(1, 2)
    toy_line.shadow(1)
    gateway = Gateway(served(tmp_path, toy_line), behind.upstream, host="127.0.0.1", port=0, rest_port=0)
    with running(gateway):
        asker = Asker(gateway.port, gateway.rest_port)
        until(lambda: gateway.models.split.shadow == 1)
        assert asker.predict(metadata=[("x-request-id", "g")]) == (2, 2.0)
        assert asker.post(x_request_id="r").json() == {"predictions": [2.0]}
        answered = 'conveyor_shadow_requests_total{line="toy",outcome="answered"} 2.0'
        until(lambda: answered in asker.http.get(PATH).text)
        asker.close()
    found = captured(tmp_path, shadow=True)
    assert set(found) == {"g", "r"}
    for one in found.values():
        shadow = one.shadow
        assert (one.version, shadow.of_version, shadow.max_abs_difference) == (1, 2, 1.0)


def test_nobody_is_given_the_shadows_answer_while_the_live_version_is_away(
    toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_line.push(1, 2)
    toy_line.shadow(1)
    gateway, asker = make_gateway(behind.upstream)
    until(lambda: gateway.models.split == Split("toy", stable=2, shadow=1, shadow_share=1.0))
    here, away = toy_line.base / "2", toy_line.base / "2.away"

    def gone() -> bool:
        return behind.manager.statuses("toy", 2)[0].state.name == "END"

    here.rename(away)
    until(gone)
    asking = asker.channel.unary_unary(PREDICT).future(predict_request().SerializeToString(), timeout=60)
    by_rest: list[Any] = []
    thread = threading.Thread(target=lambda: by_rest.append(asker.post().json()))
    thread.start()
    away.rename(here)
    response = messages.PredictResponse.FromString(asking.result())
    thread.join()
    assert response.model_spec.version.value == 2 and by_rest == [{"predictions": [2.0]}]
    # Once it is away for good, that is said.
    monkeypatch.setattr(models_module, "PATIENCE_SECONDS", 0.0)
    here.rename(away)
    until(gone)
    assert asker.error(PREDICT, predict_request()).details() == "Servable not found for request: Specific(toy, 2)"
    assert asker.post().json() == {"error": "Servable not found for request: Specific(toy, 2)"}


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    (tmp_path / "tokens").write_text("read r\nadmin a\n")
    (tmp_path / "tokens").chmod(0o600)
    return "tokens"


def test_tokens(toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway, tokens: str) -> None:
    toy_line.push(1)
    gateway, asker = make_gateway(behind.upstream, tokens_file=tokens)
    until(lambda: gateway.models.ready)
    reader, admin = [("authorization", "Bearer r")], [("authorization", "Bearer a")]
    reload = messages.ReloadConfigRequest()
    for path in (PREDICT, messages.GET_MODEL_STATUS.path, messages.RELOAD_CONFIG.path, "/a.B/C"):
        assert asker.error(path, predict_request()).code() is grpc.StatusCode.UNAUTHENTICATED
    assert asker.error(messages.RELOAD_CONFIG.path, reload, reader).code() is grpc.StatusCode.PERMISSION_DENIED
    # That comes from the server behind: the gateway has let it pass.
    assert asker.error(messages.RELOAD_CONFIG.path, reload, admin).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert asker.predict(metadata=reader) == (1, 1.0)
    assert asker.grpc(messages.HEALTH_CHECK.path, b"")[0] == b"\x08\x01"
    for path in ("/v1/models/toy:predict", "/v1/models/toy", "/x", PATH):
        response = asker.http.get(path)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
    assert asker.post(authorization="Bearer r").status_code == 200
    assert asker.post(authorization="Bearer x").status_code == 401
    assert asker.http.get("/readyz").status_code == 200


def test_a_token_is_for_the_gateway_alone(
    toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway, tokens: str
) -> None:
    toy_line.push(1)
    inner, _ = make_gateway(behind.upstream)
    until(lambda: inner.models.ready)
    seen: list[Any] = []
    inner._grpc._access.authorize = lambda header, needed=None: seen.append(header)  # type: ignore[method-assign, assignment]
    outer, asker = make_gateway(
        type(behind.upstream)(f"127.0.0.1:{inner.port}", type(behind.upstream.rest)("127.0.0.1", inner.rest_port)),
        tokens_file=tokens,
    )
    until(lambda: outer.models.ready)
    seen.clear()
    asker.predict(metadata=[("authorization", "Bearer r")])
    asker.post(authorization="Bearer r")
    assert None in seen and "Bearer r" not in seen


def test_tls(toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway, tmp_path: Path) -> None:
    toy_line.push(1)
    authority = Authority()
    certificate, key = written(tmp_path / "tls", *authority.issue())
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    gateway, plain = make_gateway(behind.upstream, tls={"certificate": certificate, "key": key})
    until(lambda: gateway.models.ready)
    credentials = grpc.ssl_channel_credentials(authority.pem)
    asker = Asker(gateway.port, gateway.rest_port, credentials, str(tmp_path / "ca.pem"))
    assert asker.predict() == (1, 1.0)
    assert asker.post().json() == {"predictions": [1.0]}
    asker.close()
    assert plain.error(PREDICT, predict_request()).code() is grpc.StatusCode.UNAVAILABLE


def test_limits(toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway) -> None:
    toy_line.push(1)
    gateway, asker = make_gateway(behind.upstream, limits={"max_batch_rows": 2, "max_message_bytes": 4096})
    until(lambda: gateway.models.ready)
    request = predict_request()
    request.inputs["x"].tensor_shape.dim[0].size = 3
    error = asker.error(PREDICT, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "2 rows at most, not 3" in error.details()
    request = messages.RegressionRequest()
    request.model_spec.name = "toy"
    for _ in range(3):
        request.input.example_list.examples.add()
    assert "2 rows at most, not 3" in asker.error(messages.REGRESS.path, request).details()
    for body in ({"instances": [1.0] * 3}, {"inputs": {"x": [1.0] * 3}}, {"inputs": [1.0] * 3}):
        response = asker.post(body)
        assert response.status_code == 400 and "2 rows at most, not 3" in response.json()["error"]
    assert asker.error(PREDICT, b"x" * 5000).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert asker.post(b"x" * 5000).status_code == 413
    assert asker.predict() == (1, 1.0)


def test_concurrent_requests_are_bounded(toy_line: ToyLine, behind: Behind, make_gateway: MakeGateway) -> None:
    toy_line.push(1)
    gateway, asker = make_gateway(behind.upstream, limits={"max_concurrent_requests": 1})
    until(lambda: gateway.models.ready)
    request = messages.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "toy", "slow"
    tensor = request.inputs["loops"]
    tensor.dtype = messages.DATA_TYPES["DT_INT64"]
    tensor.int64_val.append(30_000)
    access = gateway._grpc._access
    call = asker.channel.unary_unary(PREDICT).future(request.SerializeToString(), timeout=60)
    until(lambda: access.under_way == 1 or call.done())
    if not call.done():
        refused = Counter([asker.post().status_code])
        assert refused == {429: 1} or call.done()
    assert call.result()
    until(lambda: access.under_way == 0)
    assert asker.post().status_code == 200


def test_no_request_fails_while_the_server_is_led(toy_line: ToyLine, make_gateway: MakeGateway, tmp_path: Path) -> None:
    """The gateway writes the model config: versions come, get labels, and go, and a rollback takes a folder away."""
    from serving.model_server.model_config import ServerModels

    toy_line.push(1)
    behind = Behind(toy_line.base, ServerModels(()))
    try:
        options = {"model_config": tmp_path / "models.config", "verify": False}
        gateway, asker = make_gateway(behind.upstream, options)
        until(lambda: gateway.models.ready)
        stop, failures, answers = threading.Event(), [], Counter[float]()

        def hammer(number: int) -> None:
            while not stop.is_set():
                try:
                    if number:
                        answers[asker.predict(metadata=[("x-caller-key", str(sum(answers.values())))])[1]] += 1
                    else:
                        response = asker.post()
                        assert response.status_code == 200, response.text
                        answers[response.json()["predictions"][0]] += 1
                except Exception as error:  # whatever it is, a client would have had it
                    failures.append(error)

        clients = [threading.Thread(target=hammer, args=(number,)) for number in range(3)]
        for client in clients:
            client.start()
        try:
            toy_line.push(2)
            until(lambda: gateway.models.split == Split("toy", stable=2))
            toy_line.rollback()
            until(lambda: gateway.models.split == Split("toy", stable=1))
            toy_line.canary(2, 0.5)
            until(lambda: gateway.models.split.canary == 2)
            assert asker.predict(label="stable")[0] == 1 and asker.predict(label="canary")[0] == 2
            toy_line.promote()
            until(lambda: gateway.models.split == Split("toy", stable=2))
            before = answers[2.0]
            until(lambda: answers[2.0] > before)
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert not failures
        assert answers[1.0] and answers[2.0] and set(answers) == {1.0, 2.0}
        until(lambda: asker.predict(label="stable")[0] == 2)
    finally:
        behind.stop()
