"""A REST request that runs a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.model_server.classify import run_classify
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Entrypoint, Tensors
from serving.model_server.json_document import parse_quickly, request_object, signature_name
from serving.model_server.json_examples import examples
from serving.model_server.json_results import classification, prediction, regression
from serving.model_server.json_tensor import tensors
from serving.model_server.model_spec import DEFAULT_SIGNATURE
from serving.model_server.predict import CheckRows, ObserveRun, run_predict
from serving.model_server.regress import run_regress

if TYPE_CHECKING:
    from serving.model_server.servable import Servable

ENTRYPOINTS: dict[str, Entrypoint] = {"predict": "Predict", "classify": "Classify", "regress": "Regress"}


class Inference:
    """The body of a predict, classify or regress request, and the answer to it.

    The body is read before the model is looked up: a wrong body is told of first.

    Args:
        action: which of them.
        document: the body's JSON.

    Attributes:
        signature: the signature that the request names; empty for the default one.
        tensors: of Predict, what the request and its answer came to; None before the answer.

    Raises:
        ServingError: INVALID_ARGUMENT: the body is no such request.
    """

    def __init__(self, action: str, document: dict[str, Any]) -> None:
        self.signature = signature_name(document)
        self.tensors: Tensors | None = None
        self._action = action
        self._document = document
        self._examples = examples(document) if action != "predict" else []

    def answer(
        self, servable: Servable, check_rows: CheckRows | None = None, observe_run: ObserveRun | None = None
    ) -> bytes:
        """Returns the body of the answer.

        Args:
            servable: the model.
            check_rows: see `run_predict`.
            observe_run: see `run_predict`.

        Raises:
            ServingError: the request does not fit the model, or the model failed.
        """
        if self._action == "predict":
            return self._predict(servable, check_rows, observe_run)
        arguments = (servable, self.signature, self._examples)
        if self._action == "classify":
            classified = run_classify(*arguments, check_rows=check_rows, observe_run=observe_run)
            return classification([(c.label, c.score) for c in one.classes] for one in classified.classifications)
        regressed = run_regress(*arguments, check_rows=check_rows, observe_run=observe_run)
        return regression([one.value for one in regressed.regressions])

    def _predict(self, servable: Servable, check_rows: CheckRows | None, observe_run: ObserveRun | None) -> bytes:
        name = self.signature or DEFAULT_SIGNATURE
        signature = servable.signatures.get(name)
        if signature is None:
            raise ServingError(Code.INVALID_ARGUMENT, f'Serving signature name: "{name}" not found in signature def')
        if not signature.inputs:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Failed to get input map for signature: {self.signature or 'DEFAULT'}"
            )
        form, arrays = tensors(self._document, signature.inputs)
        _, outputs = run_predict(servable, name, arrays, check_rows=check_rows, observe_run=observe_run)
        self.tensors = Tensors(arrays, outputs)
        return prediction(outputs, form)


def read_quickly(action: str, body: bytes) -> Inference | None:
    """Returns what is in a body, or None if it takes long to tell.

    Raises:
        ServingError: INVALID_ARGUMENT: the body is no such request.
    """
    document = parse_quickly(body)
    return Inference(action, document) if isinstance(document, dict) else None


def read(action: str, body: bytes, deadline: float | None = None) -> Inference:
    """Returns what is in a body.

    Args:
        action: `predict`, `classify` or `regress`.
        body: unpacked.
        deadline: when to give up, by `time.monotonic`.

    Raises:
        ServingError: INVALID_ARGUMENT: the body is no such request; DEADLINE_EXCEEDED.
    """
    return Inference(action, request_object(body, deadline))
