"""Regress: tf.Examples in; a number for each out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from serving.model_server import tensor_types
from serving.model_server.classify import find_signature
from serving.model_server.errors import Code, ServingError
from serving.model_server.examples import examples_of, run_examples
from serving.model_server.model_spec import fill_spec, query_of, spec_of

if TYPE_CHECKING:
    from tensorflow_serving.apis import regression_pb2

    from serving.model_server.manager import Manager
    from serving.model_server.predict import CheckRows, ObserveRun
    from serving.model_server.servable import Servable
    from serving.v1_loader import Signature

METHOD = "tensorflow/serving/regress"
INPUTS = "inputs"
OUTPUTS = "outputs"


def run_regress(
    servable: Servable,
    signature_name: str,
    examples: Sequence[bytes],
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> regression_pb2.RegressionResult:
    """Computes a number for each example.

    Args:
        servable: the model.
        signature_name: the signature's key; empty for `serving_default`.
        examples: serialized tf.Examples.
        check_rows: is called with the number of examples, and raises if that is too much.
        observe_run: is called with the seconds that TensorFlow took.

    Returns:
        A Regression for each example.

    Raises:
        ServingError: INVALID_ARGUMENT (no such signature, it does not regress, there are no examples), or what
            TensorFlow says.
    """
    signature = find_signature(servable, signature_name)
    fetches = check_signature(signature)
    outputs = run_examples(servable, signature, [INPUTS], examples, fetches, check_rows, observe_run)
    return result_of(len(examples), outputs[OUTPUTS])


def regress(
    manager: Manager,
    request: regression_pb2.RegressionRequest,
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> regression_pb2.RegressionResponse:
    """Answers a RegressionRequest.

    Raises:
        ServingError: as `run_regress`, and NOT_FOUND or INVALID_ARGUMENT where the model spec names nothing here.
    """
    with manager.acquire(query_of(spec_of(request))) as lease:
        return regress_with(lease.servable, request, check_rows=check_rows, observe_run=observe_run)


def regress_with(
    servable: Servable,
    request: regression_pb2.RegressionRequest,
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> regression_pb2.RegressionResponse:
    """Answers a RegressionRequest by a given model."""
    from tensorflow_serving.apis import regression_pb2

    spec = request.model_spec
    # Before the examples are looked at, as the real server does.
    check_signature(find_signature(servable, spec.signature_name))
    result = run_regress(
        servable, spec.signature_name, examples_of(request.input), check_rows=check_rows, observe_run=observe_run
    )
    response = regression_pb2.RegressionResponse(result=result)
    fill_spec(response.model_spec, spec.name, spec.signature_name, servable.version)
    return response


def check_signature(signature: Signature) -> list[str]:
    """Checks that a signature regresses; its method name does not matter.

    Returns:
        The key of its output.

    Raises:
        ServingError: INVALID_ARGUMENT; it does not.
    """
    if len(signature.inputs) != 1:
        raise ServingError(Code.INVALID_ARGUMENT, "Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise ServingError(Code.INVALID_ARGUMENT, "Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise ServingError(Code.INVALID_ARGUMENT, f"No regression inputs found in SignatureDef: {signature.proto}")
    if OUTPUTS not in signature.outputs:
        raise ServingError(Code.INVALID_ARGUMENT, f"No regression outputs found in SignatureDef: {signature.proto}")
    return [OUTPUTS]


def result_of(rows: int, outputs: np.ndarray) -> regression_pb2.RegressionResult:
    """Returns the model's output as a RegressionResult.

    Args:
        rows: number of examples.
        outputs: float32, [rows] or [rows, 1].

    Raises:
        ServingError: INVALID_ARGUMENT; it is of another type or shape.
    """
    from tensorflow_serving.apis import regression_pb2

    if outputs.ndim != 1 and not (outputs.ndim == 2 and outputs.shape[1] == 1):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{tensor_types.shape_text(outputs.shape)}",
        )
    if outputs.shape[0] != rows:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Input batch size did not match output batch size: {rows} vs. {outputs.shape[0]}",
        )
    if tensor_types.proto_name(outputs.dtype) != "DT_FLOAT":
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected output Tensor of DT_FLOAT.  Got: {tensor_types.proto_name(outputs.dtype)}",
        )
    result = regression_pb2.RegressionResult()
    for value in outputs.ravel().tolist():
        result.regressions.add(value=value)
    return result
