"""MultiInference: several Classify and Regress signatures over the same examples, in one run of the graph."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from serving.model_server import classify, regress
from serving.model_server.errors import Code, ServingError
from serving.model_server.examples import examples_of, run_examples
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.model_spec import DEFAULT_SIGNATURE, fill_spec, query_of

if TYPE_CHECKING:
    from tensorflow_serving.apis import inference_pb2

    from serving.model_server.manager import Manager
    from serving.model_server.predict import CheckRows, ObserveRun
    from serving.model_server.servable import Servable
    from serving.v1_loader import Signature


def multi_inference(
    manager: Manager,
    request: inference_pb2.MultiInferenceRequest,
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> inference_pb2.MultiInferenceResponse:
    """Answers a MultiInferenceRequest.

    The first task's model spec names the model and version for all of them.

    Args:
        manager: where the models are.
        request: the request.
        check_rows: is called with the number of examples, and raises if that is too much.
        observe_run: is called with the seconds that TensorFlow took.

    Raises:
        ServingError: INVALID_ARGUMENT (tasks name several models, a signature twice or one that does not fit its
            method; there are no examples), UNIMPLEMENTED (another method), NOT_FOUND, or what TensorFlow says.
    """
    with manager.acquire(multi_inference_query(request)) as lease:
        return multi_inference_with(lease.servable, request, check_rows=check_rows, observe_run=observe_run)


def multi_inference_query(request: inference_pb2.MultiInferenceRequest) -> ModelSpecQuery:
    """Returns which model and version a MultiInferenceRequest asks for.

    Raises:
        ServingError: INVALID_ARGUMENT; it names none.
    """
    if not request.tasks:
        raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
    return query_of(request.tasks[0].model_spec)


def multi_inference_with(
    servable: Servable,
    request: inference_pb2.MultiInferenceRequest,
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> inference_pb2.MultiInferenceResponse:
    """Answers a MultiInferenceRequest by a given model."""
    from tensorflow_serving.apis import inference_pb2

    signatures = _signatures(servable, request.tasks)
    merged = _merged(signatures)
    examples = examples_of(request.input)
    tensors = run_examples(
        servable, merged, list(merged.inputs), examples, list(merged.outputs), check_rows, observe_run
    )
    response = inference_pb2.MultiInferenceResponse()
    for task, signature in zip(request.tasks, signatures, strict=True):
        outputs = {key: tensors[info.name] for key, info in signature.outputs.items()}
        result = response.results.add()
        if task.method_name == classify.METHOD:
            result.classification_result.MergeFrom(classify.result_of(len(examples), outputs))
        else:
            result.regression_result.MergeFrom(regress.result_of(len(examples), outputs[regress.OUTPUTS]))
        fill_spec(result.model_spec, task.model_spec.name, task.model_spec.signature_name, servable.version)
    return response


def _signatures(servable: Servable, tasks: Any) -> list[Signature]:
    signatures: dict[str, Signature] = {}
    for task in tasks:
        if not task.model_spec.name:
            raise ServingError(Code.INVALID_ARGUMENT, "Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise ServingError(
                Code.INVALID_ARGUMENT, "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in signatures:
            raise ServingError(Code.INVALID_ARGUMENT, f"Duplicate evaluation of signature: {name}")
        signature = servable.signatures.get(name)
        if signature is None:
            raise ServingError(Code.INVALID_ARGUMENT, f"Requested signature not found in model graph: {name}")
        if task.method_name == classify.METHOD:
            classify.check_signature(signature)
        elif task.method_name == regress.METHOD:
            regress.check_signature(signature)
        else:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        signatures[name] = signature
    return list(signatures.values())


def _merged(signatures: list[Signature]) -> Signature:
    """Returns one signature for all, keyed by tensor names, so that what several share is computed once."""
    inputs = {info.name: info for s in signatures for info in s.inputs.values()}
    outputs = {info.name: info for s in signatures for info in s.outputs.values()}
    return dataclasses.replace(
        signatures[0],
        name="multi_inference: " + ", ".join(s.name for s in signatures),
        inputs=dict(sorted(inputs.items())),
        outputs=dict(sorted(outputs.items())),
        defaults={},
    )
