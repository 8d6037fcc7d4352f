"""The REST part of the protocol, row by row: `reference/tf-serving.md`, section REST."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest

from tests.contract.servers import Server
from tests.serving.model_server.toy_models import DTYPES

ROW = '{"instances": [2]}'


def outcome(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Returns the status, and the answer or, of `{"error": …}` alone, the message."""
    response = server.http(method, path, body, **headers)
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    return response.status_code, answer["error"] if set(answer) == {"error"} else answer


def predict(server: Server, body: Any) -> tuple[int, Any]:
    return outcome(server, "POST", "/v1/models/toy:predict", body)


# Paths.


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/models/toy"),
        ("DELETE", "/v1/models/toy"),
        ("PATCH", "/v1/models/toy:predict"),
        ("GET", "/v1/foo"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/toy:predict"),
        ("GET", "/v1/models/toy/metadata?a=b"),
        ("POST", "/v1/models"),
        ("POST", "/v1/models/toy"),
        ("POST", "/v1/models/toy:train"),
        ("POST", "/v1/models/toy:predict?a=b"),
        ("POST", "/v1/models/toy/metadata"),
        ("POST", "/v1/models/toy/versions/x:predict"),
        ("POST", "/v1/models/toy/versions/-1:predict"),
        ("POST", "/v1/models/toy/versions/5/labels/stable:predict"),
    ],
)
def test_what_does_not_match_is_malformed(server: Server, method: str, path: str) -> None:
    assert outcome(server, method, path, ROW) == (400, f"Malformed request: {method} {path}")


def test_head_is_malformed_too(server: Server) -> None:
    assert server.http("HEAD", "/v1/models/toy").status_code == 400


def test_a_list_of_models_is_none(server: Server) -> None:
    assert outcome(server, "GET", "/v1/models") == (400, "Missing model name in request.")


def test_a_query_string_is_part_of_the_path(server: Server) -> None:
    assert outcome(server, "GET", "/v1/models/toy?a=b") == (404, "Could not find any versions of model toy?a=b")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/models/toy:predict", 7.0),
        ("/V1/MODELS/toy:predict", 7.0),
        ("/v1/models/toy/versions/5:predict", 6.0),
        ("/v1/models/toy/Versions/00005:predict", 6.0),
        ("/v1/models/toy/labels/stable:predict", 6.0),
        ("/v1/models/toy/LABELS/stable:predict", 6.0),
    ],
)
def test_paths_in_any_case(server: Server, path: str, answer: float) -> None:
    assert outcome(server, "POST", path, ROW) == (200, {"predictions": [answer]})


# Answers.


def test_predict(server: Server) -> None:
    assert predict(server, '{"instances": [1, 2.0]}') == (200, {"predictions": [6.5, 7.0]})
    assert predict(server, '{"instances": [{"x": 1}]}') == (200, {"predictions": [6.5]})
    assert predict(server, '{"inputs": [1.0]}') == (200, {"outputs": [6.5]})
    assert predict(server, '{"inputs": {"x": [1.0]}}') == (200, {"outputs": [6.5]})
    several = {"signature_name": "predict_multi", "instances": [{"words": "ä", "counts": 3}]}
    b64 = {"b64": base64.b64encode("ä".encode()).decode()}
    assert predict(server, several) == (200, {"predictions": [{"upper": "ä", "doubled": 6, "words_bytes": b64}]})
    columns = {"signature_name": "predict_multi", "inputs": {"words": [b64], "counts": [2**62 - 1]}}
    expected = {"upper": ["ä"], "doubled": [2**63 - 2], "words_bytes": [b64]}
    assert predict(server, columns) == (200, {"outputs": expected})


def test_numbers_are_written_as_the_protocol_says(server: Server) -> None:
    content = server.predict('{"instances": [0.2, 0.333333343, 0, NaN, -Infinity]}').content
    assert b"6.1, 6.16666651, 6.0, NaN, -Infinity" in content


def test_classify_and_regress(server: Server) -> None:
    body = {"signature_name": "classify", "examples": [{"x": 0.25}, {"x": [1.0]}]}
    rows = [[["low", 0.75], ["high", 0.25]], [["low", 0.0], ["high", 1.0]]]
    assert outcome(server, "POST", "/v1/models/toy:classify", body) == (200, {"results": rows})
    body = {"signature_name": "regress", "context": {"x": 0.5}, "examples": [{"x": 0.25}, {}]}
    assert outcome(server, "POST", "/v1/models/toy:regress", body) == (200, {"results": [6.125, 6.25]})


def test_status(server: Server) -> None:
    versions = [
        {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        for version in ("6", "5")
    ]
    assert outcome(server, "GET", "/v1/models/toy") == (200, {"model_version_status": versions})
    assert outcome(server, "GET", "/v1/models/toy/versions/5") == (200, {"model_version_status": versions[1:]})


@pytest.mark.parametrize(("path", "version"), [("", "6"), ("/versions/5", "5"), ("/labels/stable", "5")])
def test_metadata(server: Server, path: str, version: str) -> None:
    status, answer = outcome(server, "GET", f"/v1/models/toy{path}/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "toy", "signature_name": "", "version": version}
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}}
    assert answer["metadata"]["signature_def"]["signature_def"]["serving_default"] == {
        "inputs": {"x": {**tensor, "name": "x:0"}},
        "outputs": {"y": {**tensor, "name": "y:0"}},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


# Errors.


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/v1/models/m:predict", 404, "Servable not found for request: Latest(m)"),
        ("POST", "/v1/models/toy/versions/9:predict", 404, "Servable not found for request: Specific(toy, 9)"),
        ("POST", "/v1/models/toy/labels/L:predict", 400, "Unrecognized servable version label: L"),
        ("GET", "/v1/models/m", 404, "Could not find any versions of model m"),
        ("GET", "/v1/models/toy/versions/9", 404, "Could not find version 9 of model toy"),
        ("GET", "/v1/models/m/metadata", 404, "Servable not found for request: Latest(m)"),
        (
            "GET",
            f"/v1/models/toy/versions/{2**63}",
            400,
            f"Failed to convert version: {2**63} to numeric.",
        ),
    ],
)
def test_what_is_not_there(server: Server, method: str, path: str, status: int, message: str) -> None:
    assert outcome(server, method, path, ROW) == (status, message)


def test_the_body_is_read_before_the_model_is_looked_up(server: Server) -> None:
    path = "/v1/models/m:predict"
    assert outcome(server, "POST", path, "") == (400, "JSON Parse error: The document is empty")
    assert "must be a string" in outcome(server, "POST", path, REQUEST_ERRORS["a signature that is no text"][0])[1]
    assert outcome(server, "POST", path, ROW)[0] == 404


REQUEST_ERRORS: dict[str, tuple[str, str]] = {
    "no JSON": ("instances = [1]", "JSON Parse error: Invalid value. at offset: 0"),
    "neither key": ("{}", "Missing 'inputs' or 'instances' key"),
    "both keys": (
        '{"inputs":[1],"instances":[1]}',
        "expecting only one of 'inputs' or 'instances' keys to exist",
    ),
    "no list": ('{"instances": 1}', "Expecting 'instances' to be an list/array"),
    "an empty list": ('{"instances": []}', "No values in 'instances' array"),
    "a signature that is no text": ('{"signature_name": 1}', "'signature_name' key must be a string value."),
    "an unknown signature": (
        '{"signature_name": "s", "instances": [1]}',
        'Serving signature name: "s" not found in signature def',
    ),
    "a text for a number": (
        '{"inputs": ["x"]}',
        'JSON Value: "x" Type: String is not of expected type: float',
    ),
    "ragged rows": ('{"instances": [[1, 2], [3]]}', "Expecting tensor size: 2 but got: 1"),
    "a plain list for several inputs": (
        '{"signature_name": "predict_multi", "instances": [1]}',
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map",
    ),
    "an input missing in a row": (
        '{"signature_name": "predict_multi", "instances": [{"words": "a"}]}',
        "keys must be equal to: counts,words",
    ),
    "an input missing in the columns": (
        '{"signature_name": "predict_multi", "inputs": {"words": ["a"]}}',
        "Missing named input: counts in 'inputs' object.",
    ),
    "a decimal for an int": (
        '{"signature_name": "predict_multi", "inputs": {"words": ["a"], "counts": [1.0]}}',
        "JSON Value: 1.0 Type: Number is not of expected type: int64",
    ),
    "a boolean for a number": ('{"inputs": [true]}', "JSON Value: true Type: True is not of expected type: float"),
    "a wrong shape": ('{"signature_name": "matrix", "inputs": [[1, 2, 3]]}', "[1,3]"),
}


@pytest.mark.parametrize("row", REQUEST_ERRORS)
def test_request_errors(server: Server, row: str) -> None:
    body, message = REQUEST_ERRORS[row]
    for _ in range(3):
        status, found = predict(server, body)
        assert status == 400 and message in found


@pytest.mark.parametrize("action", ["classify", "regress"])
def test_errors_of_examples(server: Server, action: str) -> None:
    path = f"/v1/models/toy:{action}"
    unknown = {"signature_name": "s", "examples": [{"x": 1.0}]}
    assert outcome(server, "POST", path, unknown) == (400, "No signature was found with the name: s")
    assert outcome(server, "POST", path, {"examples": [1]}) == (400, "Example must be JSON object but got JSON Number")
    assert "key 'examples' is expected" in outcome(server, "POST", path, ROW)[1]


def test_an_unimplemented_conversion_is_501(server: Server) -> None:
    body = {"signature_name": "all_types", "inputs": dict.fromkeys(DTYPES, [1])}
    assert predict(server, body) == (501, "Conversion of JSON Value: 1 to type: bfloat16")


# Traps.


def test_integer_tokens_make_an_int64_list(server: Server) -> None:
    def ask(x: str) -> int:
        body = f'{{"signature_name": "regress", "examples": [{{"x": {x}}}]}}'
        return server.http("POST", "/v1/models/toy:regress", body).status_code

    # The model parses `x` as a float.
    assert ask("1.0") == 200
    assert ask("1") == 400


def test_the_first_of_two_equal_keys_wins(server: Server) -> None:
    assert predict(server, '{"instances": [1], "instances": [9]}') == (200, {"predictions": [6.5]})
    assert predict(server, '{"instances": [{"x": 1, "x": 9}]}') == (200, {"predictions": [6.5]})


def test_a_compressed_body_is_unpacked(server: Server) -> None:
    response = server.http("POST", "/v1/models/toy:predict", gzip.compress(ROW.encode()), content_encoding="gzip")
    assert response.json() == {"predictions": [7.0]}


def test_metrics(server: Server) -> None:
    server.predict(ROW)
    server.predict("{}")
    response = server.http("GET", "/monitoring/prometheus/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for line in (
        ':tensorflow:serving:request_count{model_name="toy",status="OK"} ',
        ':tensorflow:serving:request_count{model_name="toy",status="INVALID_ARGUMENT"} ',
        ':tensorflow:serving:request_latency_bucket{model_name="toy",API="predict",entrypoint="REST",le="10"} ',
        ':tensorflow:serving:runtime_latency_bucket{model_name="toy",API="Predict",runtime="TF1",le="10"} ',
    ):
        assert f"\n{line}" in response.text
    assert server.http("GET", "/monitoring/prometheus/other").status_code == 404
