"""Predict: named arrays in, named arrays out, by any signature."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.model_server.errors import Code, ServingError
from serving.model_server.model_spec import DEFAULT_SIGNATURE, query_of, spec_bytes, spec_of
from serving.model_server.tensor_codec import tensor_bytes, to_array
from serving.model_server.wire import delimited

if TYPE_CHECKING:
    from tensorflow_serving.apis import predict_pb2

    from serving.model_server.manager import Manager
    from serving.model_server.servable import Servable
    from serving.v1_loader import Signature

CheckRows = Callable[[int], None]
ObserveRun = Callable[[float], None]


def run_predict(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, np.ndarray],
    output_filter: Sequence[str] = (),
    *,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> tuple[Signature, dict[str, np.ndarray]]:
    """Runs a signature.

    Args:
        servable: the model.
        signature_name: the signature's key; empty for `serving_default`.
        inputs: input key to array; keys with a default may be left out.
        output_filter: keys of the outputs to compute, in this order; none for all.
        check_rows: is called with the largest first dimension of the inputs, and raises if that is too much.
        observe_run: is called with the seconds that TensorFlow took.

    Returns:
        The signature, and output key to array.

    Raises:
        ServingError: FAILED_PRECONDITION (no such signature), INVALID_ARGUMENT (inputs or outputs are not the
            signature's), or what TensorFlow says.
    """
    signature = find_signature(servable, signature_name)
    check_count(signature, inputs)
    feeds = dict(inputs)
    for key in signature.inputs:
        if key not in feeds:
            feeds[key] = default_input(signature, key, inputs)
    check_names(signature, inputs)
    return signature, _run(servable, signature, feeds, fetches_of(signature, output_filter), check_rows, observe_run)


def predict(
    manager: Manager,
    request: predict_pb2.PredictRequest,
    *,
    as_content: bool = False,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> predict_pb2.PredictResponse:
    """Answers a PredictRequest.

    Args:
        manager: where the models are.
        request: the request.
        as_content: answer in `tensor_content` instead of the typed fields.
        check_rows: as in `run_predict`.
        observe_run: as in `run_predict`.

    Raises:
        ServingError: as `run_predict`, and NOT_FOUND or INVALID_ARGUMENT where the model spec names nothing here.
    """
    from tensorflow_serving.apis import predict_pb2

    with manager.acquire(query_of(spec_of(request))) as lease:
        raw = predict_bytes(
            lease.servable, request, as_content=as_content, check_rows=check_rows, observe_run=observe_run
        )
    return predict_pb2.PredictResponse.FromString(raw)


def predict_bytes(
    servable: Servable,
    request: predict_pb2.PredictRequest,
    *,
    as_content: bool = False,
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> bytes:
    """Answers a PredictRequest by a given model, in a serialized PredictResponse.

    Args and errors: as in `predict`.
    """
    spec = request.model_spec
    signature = find_signature(servable, spec.signature_name)
    # A look into a protobuf map takes microseconds.
    sent = dict(request.inputs.items())
    check_count(signature, sent)
    feeds = {
        key: _parse(key, sent[key]) if key in sent else default_input(signature, key, sent) for key in signature.inputs
    }
    check_names(signature, sent)
    fetches = fetches_of(signature, request.output_filter)
    outputs = _run(servable, signature, feeds, fetches, check_rows, observe_run)
    return response_bytes(spec.name, signature.name, servable.version, outputs, as_content)


def response_bytes(
    model: str, signature: str, version: int, outputs: Mapping[str, np.ndarray], as_content: bool = False
) -> bytes:
    """Returns a serialized PredictResponse.

    Args:
        model: the requested model's name.
        signature: the signature's key.
        version: the version that answers.
        outputs: output key to array.
        as_content: write `tensor_content` instead of the typed fields.
    """
    parts = [output_entry(key, array, as_content) for key, array in outputs.items()]
    parts.append(delimited(2, spec_bytes(model, signature, version)))
    return b"".join(parts)


def output_entry(key: str, output: np.ndarray, as_content: bool) -> bytes:
    """Returns an output as an entry of a serialized PredictResponse."""
    return delimited(1, delimited(1, key.encode()) + delimited(2, tensor_bytes(output, as_content)))


def find_signature(servable: Servable, name: str) -> Signature:
    """Returns the signature with a key, `serving_default` for none.

    Raises:
        ServingError: FAILED_PRECONDITION; there is none.
    """
    signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name or DEFAULT_SIGNATURE}" not found.')
    return signature


def check_count(signature: Signature, sent: Collection[str]) -> None:
    """Checks the number of inputs, which need not be right by name yet.

    Raises:
        ServingError: INVALID_ARGUMENT; there are too many, or too few and none has a default.
    """
    wanted = signature.inputs
    if len(sent) == len(wanted) or (len(sent) < len(wanted) and signature.defaults):
        return
    raise ServingError(
        Code.INVALID_ARGUMENT,
        f"input size does not match signature: {len(sent)}!={len(wanted)} "
        f"len({{{_join(sent)}}}) != len({{{_join(wanted)}}}). "
        f"Sent extra: {{{_join(set(sent) - set(wanted))}}}. "
        f"Missing but required: {{{_join(set(wanted) - set(sent))}}}.",
    )


def check_names(signature: Signature, sent: Collection[str]) -> None:
    """Checks that each input sent is one of the signature's, after those missing were looked for.

    Raises:
        ServingError: INVALID_ARGUMENT; one is not.
    """
    used = [key for key in signature.inputs if key in sent]
    if len(used) != len(sent):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Inputs contains invalid name. Used request inputs: {_join(used)}, request input: {_join(sent)}",
        )


def default_input(signature: Signature, key: str, sent: Collection[str]) -> np.ndarray:
    """Returns the default of an input that was not sent.

    Raises:
        ServingError: INVALID_ARGUMENT; it has none.
    """
    if key not in signature.defaults:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Signature input alias: {key}(feed name: {signature.inputs[key].name}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {{{_join(sent)}}}, or default input alias "
            f"set: {_join(signature.defaults)}",
        )
    return signature.defaults[key]


def fetches_of(signature: Signature, output_filter: Sequence[str]) -> list[str]:
    """Returns the keys of the outputs to compute.

    Raises:
        ServingError: INVALID_ARGUMENT; the filter names an output twice or one that is not the signature's.
    """
    if not output_filter:
        return list(signature.outputs)
    fetches: list[str] = []
    for key in output_filter:
        if key not in signature.outputs:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {key} Outputs expected to be in the set "
                f"{{{_join(signature.outputs)}}}.",
            )
        if key in fetches:
            raise ServingError(Code.INVALID_ARGUMENT, f"duplicate output tensor alias: {key}")
        fetches.append(key)
    return fetches


def _run(
    servable: Servable,
    signature: Signature,
    feeds: Mapping[str, np.ndarray],
    fetches: list[str],
    check_rows: CheckRows | None,
    observe_run: ObserveRun | None,
) -> dict[str, np.ndarray]:
    if check_rows is not None:
        check_rows(max((array.shape[0] for array in feeds.values() if array.ndim), default=1))
    if observe_run is None:
        return dict(zip(fetches, servable.run(signature, feeds, fetches), strict=True))
    started = time.perf_counter()
    results = servable.run(signature, feeds, fetches)
    observe_run(time.perf_counter() - started)
    return dict(zip(fetches, results, strict=True))


def _parse(key: str, tensor: Any) -> np.ndarray:
    try:
        return to_array(tensor)
    except ServingError as e:
        raise ServingError(e.code, f"tensor parsing error: {key}") from e


def _join(keys: Collection[str]) -> str:
    return ",".join(sorted(keys))
