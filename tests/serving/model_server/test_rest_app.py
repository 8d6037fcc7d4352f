"""The REST API, row by row of its tables in the protocol: status, body and message."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.model_server.manager import Manager
from serving.model_server.model_config import All, ModelConfig, ServerModels
from tests.serving.model_server.rest_calls import RestCalls, outcome
from tests.serving.model_server.toy_models import ToyModels


@pytest.fixture(scope="module")
def calls(toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestCalls]:
    """`toy`: versions 5 (label stable, offset 5) and 6 (offset 6); `a b`: version 1 (offset 2)."""
    base_path = tmp_path_factory.mktemp("rest")
    toy_models.write(base_path / "toy", 5, offset=5.0)
    toy_models.write(base_path / "toy", 6, offset=6.0)
    toy_models.write(base_path / "other", 1)
    models = ServerModels(
        (
            ModelConfig("toy", str(base_path / "toy"), policy=All(), labels={"stable": 5}),
            ModelConfig("a b", str(base_path / "other")),
        )
    )
    manager = Manager(
        models, file_system_poll_wait_seconds=0, force_allow_any_version_labels_for_unavailable_models=True
    )
    manager.start()
    calls = RestCalls(manager)
    yield calls
    manager.stop(timeout=10)
    calls.executor.shutdown()


def error(calls: RestCalls, body: Any, action: str = "predict", model: str = "toy") -> tuple[int, str]:
    return outcome(calls("POST", f"/v1/models/{model}:{action}", body))


# Paths


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/v1/models/toy", "/v1/models/toy:predict", "/v1/"])
def test_other_methods_are_malformed(calls: RestCalls, method: str, path: str) -> None:
    response = calls(method, path)
    assert outcome(response) == (400, f"Malformed request: {method} {path}")
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v1/models/toy", "/v1/models/toy:predict"])
def test_head_is_malformed_too(calls: RestCalls, path: str) -> None:
    assert calls("HEAD", path).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/foo"),
        ("POST", "/v1/foo"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/toy/"),
        ("GET", "/v1/models/debug/toy"),
        ("POST", "/v1/models"),
        ("POST", "/v1/models:predict"),
        ("GET", "/v1/models/toy:predict"),
        ("GET", "/v1/models/toy/version/5"),
        ("POST", "/v1/models/toy/version/5:regress"),
        ("POST", "/v1/models/toy/versions/HELLO:regress"),
        ("POST", "/v1/models/toy/versions/-1:predict"),
        ("POST", "/v1/models/toy/metadata"),
        ("POST", "/v1/models/toy/label/x:regress"),
        ("POST", "/v1/models/toy/versions/5/labels/x:regress"),
        ("POST", "/v1/models/toy:train"),
        ("POST", "/v1/models/toy:PREDICT"),
        ("POST", "/v1/models/toy:predict?timeout=5"),
        ("GET", "/v1/models/toy/metadata?verbose"),
        ("GET", "/v1/models/toy/versions/5/metadata/x"),
    ],
)
def test_a_path_that_does_not_match_is_malformed(calls: RestCalls, method: str, path: str) -> None:
    assert outcome(calls(method, path, '{"instances": [1]}')) == (400, f"Malformed request: {method} {path}")


def test_a_query_is_part_of_the_path(calls: RestCalls) -> None:
    assert outcome(calls("GET", "/v1/models/toy?a=b")) == (404, "Could not find any versions of model toy?a=b")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/versions/5", "/v1/models/labels/stable"])
def test_a_status_needs_a_model(calls: RestCalls, path: str) -> None:
    assert outcome(calls("GET", path)) == (400, "Missing model name in request.")


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models/toy", "/index", "/healthz", "/readyz"])
def test_elsewhere_there_is_nothing(calls: RestCalls, path: str) -> None:
    response = calls("GET", path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "text/html"
    assert "<H1>Not Found</H1>" in response.text


@pytest.mark.parametrize(
    ("path", "predictions"),
    [
        ("/v1/models/toy:predict", [7.0]),
        ("/V1/Models/toy:predict", [7.0]),
        ("/v1/models/toy/versions/5:predict", [6.0]),
        ("/v1/models/toy/VERSIONS/00005:predict", [6.0]),
        ("/v1/models/toy/versions/6:predict", [7.0]),
        ("/v1/models/toy/labels/stable:predict", [6.0]),
        ("/v1/models/t%6fy/labels/st%61ble:predict", [6.0]),
        ("/v1/models/a%20b:predict", [3.0]),
    ],
)
def test_a_path_names_the_version(calls: RestCalls, path: str, predictions: list[float]) -> None:
    assert outcome(calls("POST", path, '{"instances": [2]}')) == (200, {"predictions": predictions})


def test_upper_case_metadata_is_read_as_a_status(calls: RestCalls) -> None:
    assert calls("GET", "/v1/models/toy/METADATA").json() == calls("GET", "/v1/models/toy").json()


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/models/m:predict", 404, "Servable not found for request: Latest(m)"),
        ("/v1/models/toy/versions/9:predict", 404, "Servable not found for request: Specific(toy, 9)"),
        ("/v1/models/toy/labels/x:predict", 400, "Unrecognized servable version label: x"),
        (
            "/v1/models/toy/versions/18446744073709551615:predict",
            400,
            "Failed to convert version: 18446744073709551615 to numeric.",
        ),
        (f"/v1/models/toy/versions/{'9' * 5000}:predict", 400, f"Failed to convert version: {'9' * 5000} to numeric."),
    ],
)
def test_a_model_that_is_not_there(calls: RestCalls, path: str, status: int, message: str) -> None:
    assert outcome(calls("POST", path, '{"instances": [2]}')) == (status, message)


@pytest.mark.parametrize("action", ["predict", "classify", "regress"])
def test_the_body_is_read_before_the_model_is_looked_up(calls: RestCalls, action: str) -> None:
    assert error(calls, b"", action, "m") == (400, "JSON Parse error: The document is empty")
    assert error(calls, b'{"signature_name": 1}', action, "m")[0] == 400
    body = b'{"instances": [1], "examples": [{}]}'
    assert error(calls, body, action, "m") == (404, "Servable not found for request: Latest(m)")


# Answers


def test_predict_by_rows_and_by_columns(calls: RestCalls) -> None:
    response = calls.predict('{"instances": [1.0, 2.0]}')
    assert response.content == b'{\n    "predictions": [6.5, 7.0\n    ]\n}'
    assert response.headers["content-type"] == "application/json"
    assert outcome(calls.predict('{"inputs": [1.0, 2.0]}')) == (200, {"outputs": [6.5, 7.0]})
    assert outcome(calls.predict('{"instances": [{"x": 1}]}')) == (200, {"predictions": [6.5]})
    assert outcome(calls.predict('{"inputs": {"x": [1]}}')) == (200, {"outputs": [6.5]})
    assert outcome(calls.predict('{"signature_name": "serving_default", "inputs": [1]}')) == (200, {"outputs": [6.5]})


def test_several_outputs_are_objects(calls: RestCalls) -> None:
    body = {"signature_name": "predict_multi", "instances": [{"words": "a", "counts": 3}, {"words": "ä", "counts": 4}]}
    b64 = {word: {"b64": base64.b64encode(word.encode()).decode()} for word in ("a", "ä")}
    assert outcome(calls.predict(body)) == (
        200,
        {
            "predictions": [
                {"upper": "A", "doubled": 6, "words_bytes": b64["a"]},
                {"upper": "ä", "doubled": 8, "words_bytes": b64["ä"]},
            ]
        },
    )
    body = {"signature_name": "predict_multi", "inputs": {"words": ["a"], "counts": [2**62 - 1]}}
    assert outcome(calls.predict(body)) == (
        200,
        {"outputs": {"upper": ["A"], "doubled": [2**63 - 2], "words_bytes": [b64["a"]]}},
    )


def test_classify(calls: RestCalls) -> None:
    body = {"signature_name": "classify", "examples": [{"x": 0.25}, {"x": [1.0]}]}
    response = calls("POST", "/v1/models/toy:classify", body)
    assert outcome(response) == (
        200,
        {"results": [[["low", 0.75], ["high", 0.25]], [["low", 0.0], ["high", 1.0]]]},
    )
    body["signature_name"] = "classify_scores"
    assert outcome(calls("POST", "/v1/models/toy:classify", body))[1]["results"][0] == [["", 0.75], ["", 0.25]]
    body["signature_name"] = "classify_classes"
    assert outcome(calls("POST", "/v1/models/toy:classify", body))[1]["results"][0] == [["low", 0.0], ["high", 0.0]]


@pytest.mark.parametrize("signature", ["regress", "regress_flat"])
def test_regress(calls: RestCalls, signature: str) -> None:
    body = {"signature_name": signature, "context": {"x": 4.0}, "examples": [{"x": 2.0}, {}]}
    response = calls("POST", "/v1/models/toy/labels/stable:regress", body)
    assert response.content == b'{\n    "results": [6.0, 7.0]\n}'


def version_status(*versions: int) -> dict[str, Any]:
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": str(v), "state": "AVAILABLE", "status": status} for v in versions]}


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("/v1/models/toy", (6, 5)),
        ("/v1/models/toy/labels/stable", (6, 5)),
        ("/v1/models/toy/labels/unknown", (6, 5)),
        ("/v1/models/toy/versions/5", (5,)),
    ],
)
def test_status(calls: RestCalls, path: str, versions: tuple[int, ...]) -> None:
    assert outcome(calls("GET", path)) == (200, version_status(*versions))


def test_status_of_what_is_not_there(calls: RestCalls) -> None:
    assert outcome(calls("GET", "/v1/models/m")) == (404, "Could not find any versions of model m")
    assert outcome(calls("GET", "/v1/models/toy/versions/9")) == (404, "Could not find version 9 of model toy")


@pytest.mark.parametrize(("path", "version"), [("", "6"), ("/versions/5", "5"), ("/labels/stable", "5")])
def test_metadata(calls: RestCalls, path: str, version: str) -> None:
    status, answer = outcome(calls("GET", f"/v1/models/toy{path}/metadata"))
    assert status == 200
    assert answer["model_spec"] == {"name": "toy", "signature_name": "", "version": version}
    assert list(answer["metadata"]) == ["signature_def"]
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}}
    assert answer["metadata"]["signature_def"]["signature_def"]["serving_default"] == {
        "inputs": {"x": {**tensor, "name": "x:0"}},
        "outputs": {"y": {**tensor, "name": "y:0"}},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


def test_metadata_of_what_is_not_there(calls: RestCalls) -> None:
    path = "/v1/models/toy/versions/9/metadata"
    assert outcome(calls("GET", path)) == (404, "Servable not found for request: Specific(toy, 9)")


def test_traps(calls: RestCalls) -> None:
    assert outcome(calls.predict('{"instances": [1], "instances": [9]}')) == (200, {"predictions": [6.5]})
    assert outcome(calls.predict('{"instances": [{"x": 1, "x": 9}]}')) == (200, {"predictions": [6.5]})
    assert outcome(calls.predict(b'{"instances": [1]} and more')) == (200, {"predictions": [6.5]})
    assert outcome(calls.predict('{"inputs": {"x": [1], "more": 2}, "other": 3}')) == (200, {"outputs": [6.5]})
    assert calls.predict('{"instances": [NaN, Infinity, -Infinity, 1e300]}').content == (
        b'{\n    "predictions": [NaN, Infinity, -Infinity, Infinity\n    ]\n}'
    )
    assert calls.predict('{"instances": [0.2, 1999988, 0.333333343, 0]}').content == (
        b'{\n    "predictions": [6.1, 1e+06, 6.16666651, 6.0\n    ]\n}'
    )


# Encoding, ids, headers


def test_a_compressed_request_is_unpacked(calls: RestCalls) -> None:
    body = gzip.compress(b'{"instances": [2]}')
    for encoding in ("gzip", "x-gzip", "identity, gzip"):
        response = calls.predict(body, content_encoding=encoding)
        assert outcome(response) == (200, {"predictions": [7.0]})
        assert "content-encoding" not in response.headers
    large = json.dumps({"instances": [2] * 100_000}).encode()
    status, answer = outcome(calls.predict(gzip.compress(large), content_encoding="gzip"))
    assert (status, len(answer["predictions"])) == (200, 100_000)


@pytest.mark.parametrize("body", [b'{"instances": [2]}', gzip.compress(b'{"instances": [2]}', mtime=0)[:-9], b""])
def test_what_cannot_be_unpacked_is_empty(calls: RestCalls, body: bytes) -> None:
    assert outcome(calls.predict(body, content_encoding="gzip")) == (400, "JSON Parse error: The document is empty")


def test_the_answer_is_not_compressed(calls: RestCalls) -> None:
    response = calls.predict({"instances": [2] * 10_000}, accept_encoding="gzip")
    assert "content-encoding" not in response.headers


def test_the_request_id_is_the_callers_or_a_new_one(calls: RestCalls) -> None:
    assert calls.predict('{"instances": [2]}', x_request_id="mine-1").headers["x-request-id"] == "mine-1"
    ids = {calls("GET", path).headers["x-request-id"] for path in ("/v1/models/toy", "/v1/x", "/elsewhere")}
    assert len(ids) == 3
    assert calls.predict("{}", x_request_id="no good").headers["x-request-id"] != "no good"


def test_large_requests_run_as_small_ones_do(calls: RestCalls) -> None:
    values = np.arange(50_000, dtype=np.float32)
    status, answer = outcome(calls.predict({"instances": values.tolist()}))
    assert status == 200
    np.testing.assert_array_equal(np.float32(answer["predictions"]), values / 2 + 6)


def test_what_ran_in_a_thread_runs_in_the_loop_once_it_is_quick(calls: RestCalls) -> None:
    answers = {calls.predict('{"instances": [2.5]}').content for _ in range(5)}
    assert answers == {b'{\n    "predictions": [7.25\n    ]\n}'}
    assert any(kind.inline for kind in calls.app.pace._kinds.values())
