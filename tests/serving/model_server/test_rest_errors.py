"""Errors of the REST API: status and message, row by row of the protocol's tables."""

from __future__ import annotations

from typing import Any

import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.manager import Manager
from tests.serving.model_server.rest_calls import RestCalls, outcome
from tests.serving.model_server.toy_models import DTYPES


@pytest.fixture(scope="module")
def calls(toy_manager: Manager) -> RestCalls:
    return RestCalls(toy_manager)


def error(calls: RestCalls, body: Any, action: str = "predict", model: str = "toy") -> tuple[int, str]:
    return outcome(calls("POST", f"/v1/models/{model}:{action}", body))


# Errors of requests


def test_an_error_is_an_object_of_one_message(calls: RestCalls) -> None:
    response = calls.predict('{"x": "é"')
    assert response.content == (
        b'{\n    "error": "JSON Parse error: Missing a comma or \'}\' after an object member. at offset: 10"\n}'
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": [1], "instances": [1]}',
            'JSON Value: {\n    "inputs": [1],\n    "instances": [1]\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
        ),
        ('{"instances": 1}', "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
        ('{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (
            '{"signature_name": 100}',
            'JSON Value: {\n    "signature_name": 100\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        ('{"signature_name": "s", "instances": [1]}', 'Serving signature name: "s" not found in signature def'),
        (
            '{"instances": ["x"]}',
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        ('{"inputs": ["x"]}', 'JSON Value: "x" Type: String is not of expected type: float'),
        ('{"inputs": [true]}', "JSON Value: true Type: True is not of expected type: float"),
        (
            '{"instances": [[1, 2], [3]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            '{"signature_name": "predict_multi", "instances": [1]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"signature_name": "predict_multi", "instances": [{"words": "a"}]}',
            'Failed to process element: 0 of \'instances\' list. JSON object: {\n    "words": "a"\n} '
            "keys must be equal to: counts,words",
        ),
        (
            '{"signature_name": "predict_multi", "inputs": {"words": ["a"]}}',
            "Missing named input: counts in 'inputs' object.",
        ),
        (
            '{"signature_name": "predict_multi", "inputs": {"words": ["a"], "counts": [1.0]}}',
            "JSON Value: 1.0 Type: Number is not of expected type: int64",
        ),
        ('{"signature_name": "uneven", "instances": [1]}', "Tensor name: total has no shape information "),
    ],
)
def test_request_errors(calls: RestCalls, body: str, message: str) -> None:
    assert error(calls, body) == (400, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"signature_name": "s", "examples": [{}]}', "No signature was found with the name: s"),
        (
            '{"instances": [1]}',
            "JSON Value: {\n    \"instances\": [1]\n} When method is classify, key 'examples' is expected and was not "
            "found",
        ),
        ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
    ],
)
@pytest.mark.parametrize("action", ["classify", "regress"])
def test_errors_of_examples(calls: RestCalls, action: str, body: str, message: str) -> None:
    assert error(calls, body, action) == (400, message)


def test_an_error_of_the_model_is_in_tensorflows_words(calls: RestCalls) -> None:
    status, message = error(calls, '{"signature_name": "fails", "instances": [1]}')
    assert status == 400
    assert "this signature fails" in message
    assert error(calls, '{"signature_name": "matrix", "inputs": [[1.0]]}')[0] == 400


def test_a_dtype_that_json_does_not_carry_is_not_implemented(calls: RestCalls) -> None:
    body = {"signature_name": "all_types", "inputs": dict.fromkeys(DTYPES, [1])}
    assert error(calls, body) == (501, "Conversion of JSON Value: 1 to type: bfloat16")


class Failing:
    """A manager that fails in a given way."""

    ready = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def acquire(self, query: Any) -> Any:
        raise self.error


HTTP = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ABORTED: 409,
    Code.ALREADY_EXISTS: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.UNKNOWN: 500,
    Code.INTERNAL: 500,
    Code.DATA_LOSS: 500,
}


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_each_code_has_its_status(code: Code) -> None:
    assert outcome(RestCalls(Failing(ServingError(code, 'it "failed"'))).predict('{"instances": [1]}')) == (
        HTTP[code],
        'it "failed"',
    )


@pytest.mark.parametrize("body", [b'{"instances": [1]}', b'{"instances": [' + b"1," * 50_000 + b"1]}"])
def test_a_fault_of_ours_is_told_without_a_trace(body: bytes) -> None:
    response = RestCalls(Failing(ZeroDivisionError("secret"))).predict(body, x_request_id="r7")
    assert outcome(response) == (500, "The server failed. Its log says more about request r7")
    response = RestCalls(Failing(MemoryError())).predict(body)
    assert outcome(response) == (429, "The server has not enough memory for this request")
