"""`tensorflow.serving.Input`: the tf.Examples that Classify, Regress and MultiInference take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.model_server.errors import Code, ServingError

if TYPE_CHECKING:
    from serving.model_server.predict import CheckRows, ObserveRun
    from serving.model_server.servable import Servable
    from serving.v1_loader import Signature


def examples_of(message: Any) -> list[bytes]:
    """Returns the examples of an Input, serialized.

    A context is put in front of each example: protocol buffers merge what is concatenated, and the example wins.

    Raises:
        ServingError: INVALID_ARGUMENT; there is none.
    """
    kind = message.WhichOneof("kind")
    examples = getattr(message, kind).examples if kind else ()
    if not examples:
        raise ServingError(Code.INVALID_ARGUMENT, "Input is empty.")
    if kind == "example_list":
        return [e.SerializeToString() for e in examples]
    context = message.example_list_with_context.context.SerializeToString()
    return [context + e.SerializeToString() for e in examples]


def run_examples(
    servable: Servable,
    signature: Signature,
    input_keys: Sequence[str],
    examples: Sequence[bytes],
    fetches: Sequence[str],
    check_rows: CheckRows | None = None,
    observe_run: ObserveRun | None = None,
) -> dict[str, np.ndarray]:
    """Feeds examples to a signature.

    Args:
        servable: the model.
        signature: the signature.
        input_keys: keys of the inputs, each of which gets all examples.
        examples: serialized tf.Examples.
        fetches: keys of the outputs.
        check_rows: is called with the number of examples, and raises if that is too much.
        observe_run: is called with the seconds that TensorFlow took.

    Returns:
        Output key to array.

    Raises:
        ServingError: INVALID_ARGUMENT `Input is empty.`, or what TensorFlow says.
    """
    if not examples:
        raise ServingError(Code.INVALID_ARGUMENT, "Input is empty.")
    if check_rows is not None:
        check_rows(len(examples))
    serialized = np.empty(len(examples), object)
    serialized[:] = examples
    started = time.perf_counter()
    results = servable.run(signature, dict.fromkeys(input_keys, serialized), fetches)
    if observe_run is not None:
        observe_run(time.perf_counter() - started)
    return dict(zip(fetches, results, strict=True))
