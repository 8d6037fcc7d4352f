"""Regress: examples in, a number for each out, and the words for what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow_serving.apis import regression_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.regress import regress, result_of, run_regress
from tests.serving.model_server.grpc_asking import example_request
from tests.serving.model_server.toy_models import example


def request_of(signature: str, *values: float, model: str = "toy") -> regression_pb2.RegressionRequest:
    return example_request(regression_pb2.RegressionRequest, signature, [example(value) for value in values], model)


def error_of(manager: Manager, request: regression_pb2.RegressionRequest) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        regress(manager, request)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize("signature", ["regress", "regress_flat"])
def test_a_number_for_each_example(toy_manager: Manager, signature: str) -> None:
    response = regress(toy_manager, request_of(signature, 1.0, 4.0))
    assert [r.value for r in response.result.regressions] == [2.5, 4.0]
    assert response.model_spec.name == "toy"
    assert response.model_spec.signature_name == signature
    assert response.model_spec.version.value == 1


def test_bytes_in_result_out(toy_manager: Manager) -> None:
    rows: list[int] = []
    seconds: list[float] = []
    with toy_manager.acquire(ModelSpecQuery("toy")) as lease:
        result = run_regress(
            lease.servable, "regress", [example(1.0)], check_rows=rows.append, observe_run=seconds.append
        )
        with pytest.raises(ServingError, match="Input is empty."):
            run_regress(lease.servable, "regress", [])
    assert [r.value for r in result.regressions] == [2.5]
    assert rows == [1]
    assert len(seconds) == 1 and seconds[0] > 0


# The rows of the protocol's table.


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (regression_pb2.RegressionRequest(), Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (request_of("regress", 1.0, model=""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (request_of("", 1.0, model="m"), Code.NOT_FOUND, "Servable not found for request: Latest(m)"),
        (request_of("s", 1.0), Code.INVALID_ARGUMENT, "No signature was found with the name: s"),
        (request_of("regress"), Code.INVALID_ARGUMENT, "Input is empty."),
        (request_of("predict_multi"), Code.INVALID_ARGUMENT, "Expected one input Tensor."),
        (request_of("classify", 1.0), Code.INVALID_ARGUMENT, "Expected one output Tensor."),
        (
            request_of("not_parsed", 1.0),
            Code.INVALID_ARGUMENT,
            "Expects arg[0] to be float but string is provided",
        ),
    ],
)
def test_requests_that_cannot_be_answered(
    toy_manager: Manager, request_: regression_pb2.RegressionRequest, code: Code, message: str
) -> None:
    assert error_of(toy_manager, request_) == (code, message)


def test_no_inputs_or_no_outputs_of_the_right_name(toy_manager: Manager) -> None:
    code, message = error_of(toy_manager, request_of("serving_default", 1.0))
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith('No regression inputs found in SignatureDef: inputs {\n  key: "x"')
    code, message = error_of(toy_manager, request_of("classify_scores", 1.0))
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith('No regression outputs found in SignatureDef: inputs {\n  key: "inputs"')


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            np.zeros((1, 2), np.float32),
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
        ),
        (
            np.zeros((), np.float32),
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
        ),
        (np.zeros(2, np.float32), "Input batch size did not match output batch size: 1 vs. 2"),
        (np.zeros((0, 1), np.float32), "Input batch size did not match output batch size: 1 vs. 0"),
        (np.zeros(1, np.int64), "Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
        (np.array([b"a"], object), "Expected output Tensor of DT_FLOAT.  Got: DT_STRING"),
    ],
)
def test_outputs_that_are_no_numbers(outputs: np.ndarray, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        result_of(1, outputs)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)
