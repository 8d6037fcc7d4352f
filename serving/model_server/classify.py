"""Classify: tf.Examples in; classes with their scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from serving.model_server import tensor_types
from serving.model_server.errors import Code, ServingError
from serving.model_server.examples import examples_of, run_examples
from serving.model_server.model_spec import DEFAULT_SIGNATURE, fill_spec, query_of, spec_of

if TYPE_CHECKING:
    from tensorflow_serving.apis import classification_pb2

    from serving.model_server.manager import Manager
    from serving.model_server.predict import CheckRows, ObserveRun
    from serving.model_server.servable import Servable
    from serving.v1_loader import Signature

METHOD = "tensorflow/serving/classify"
INPUTS = "inputs"
CLASSES = "classes"
SCORES = "scores"


def run_classify(
    servable: Servable,
    signature_name: str,
    examples: Sequence[bytes],
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> classification_pb2.ClassificationResult:
    """Classifies examples.

    Args:
        servable: the model.
        signature_name: the signature's key; empty for `serving_default`.
        examples: serialized tf.Examples.
        check_rows: is called with the number of examples, and raises if that is too much.
        observe_run: is called with the seconds that TensorFlow took.

    Returns:
        A Classifications for each example.

    Raises:
        ServingError: INVALID_ARGUMENT (no such signature, it does not classify, there are no examples), or what
            TensorFlow says.
    """
    signature = find_signature(servable, signature_name)
    fetches = check_signature(signature)
    outputs = run_examples(servable, signature, [INPUTS], examples, fetches, check_rows, observe_run)
    return result_of(len(examples), outputs)


def classify(
    manager: Manager,
    request: classification_pb2.ClassificationRequest,
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> classification_pb2.ClassificationResponse:
    """Answers a ClassificationRequest.

    Raises:
        ServingError: as `run_classify`, and NOT_FOUND or INVALID_ARGUMENT where the model spec names nothing here.
    """
    with manager.acquire(query_of(spec_of(request))) as lease:
        return classify_with(lease.servable, request, check_rows=check_rows, observe_run=observe_run)


def classify_with(
    servable: Servable,
    request: classification_pb2.ClassificationRequest,
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> classification_pb2.ClassificationResponse:
    """Answers a ClassificationRequest by a given model."""
    from tensorflow_serving.apis import classification_pb2

    spec = request.model_spec
    # Before the examples are looked at, as the real server does.
    check_signature(find_signature(servable, spec.signature_name))
    result = run_classify(
        servable, spec.signature_name, examples_of(request.input), check_rows=check_rows, observe_run=observe_run
    )
    response = classification_pb2.ClassificationResponse(result=result)
    fill_spec(response.model_spec, spec.name, spec.signature_name, servable.version)
    return response


def find_signature(servable: Servable, name: str) -> Signature:
    """Returns the signature with a key, `serving_default` for none.

    Raises:
        ServingError: INVALID_ARGUMENT; there is none. (Predict has another code and text for that.)
    """
    signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise ServingError(Code.INVALID_ARGUMENT, f"No signature was found with the name: {name or DEFAULT_SIGNATURE}")
    return signature


def check_signature(signature: Signature) -> list[str]:
    """Checks that a signature classifies; its method name does not matter.

    Returns:
        The keys of its outputs: classes, scores or both.

    Raises:
        ServingError: INVALID_ARGUMENT; it does not.
    """
    if len(signature.inputs) != 1:
        raise ServingError(Code.INVALID_ARGUMENT, "Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise ServingError(Code.INVALID_ARGUMENT, f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise ServingError(Code.INVALID_ARGUMENT, f"No classification inputs found in SignatureDef: {signature.proto}")
    fetches = [key for key in (CLASSES, SCORES) if key in signature.outputs]
    if not fetches:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {signature.proto}",
        )
    return fetches


def result_of(rows: int, outputs: Mapping[str, np.ndarray]) -> classification_pb2.ClassificationResult:
    """Returns the model's outputs as a ClassificationResult.

    Args:
        rows: number of examples.
        outputs: `classes` (string) and/or `scores` (float32), [rows, number of classes].

    Raises:
        ServingError: INVALID_ARGUMENT; they are of another type or shape.
    """
    from tensorflow_serving.apis import classification_pb2

    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for name, array, wanted in ((CLASSES, classes, "DT_STRING"), (SCORES, scores, "DT_FLOAT")):
        if array is None:
            continue
        if array.ndim != 2:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected Tensor shape: [batch_size num_classes] but got {tensor_types.shape_text(array.shape)}",
            )
        if tensor_types.proto_name(array.dtype) != wanted:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected {name} Tensor of {wanted}. Got: {tensor_types.proto_name(array.dtype)}",
            )
        if array.shape[0] != rows:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Expected {name} output batch size of {rows}. Got: {array.shape[0]}"
            )
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}",
        )
    # A label that is not UTF-8 could not be read by any client.
    labels = [[v.decode("utf-8", "replace") for v in row] for row in classes.tolist()] if classes is not None else None
    values = scores.tolist() if scores is not None else None
    result = classification_pb2.ClassificationResult()
    for row in range(rows):
        add = result.classifications.add().classes.add
        if labels is not None and values is not None:
            for label, score in zip(labels[row], values[row], strict=True):
                add(label=label, score=score)
        elif labels is not None:
            for label in labels[row]:
                add(label=label)
        elif values is not None:
            for score in values[row]:
                add(score=score)
    return result
