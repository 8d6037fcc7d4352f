"""Runs a SavedModel on serialized tf.Examples, the way TensorFlow Serving does.

Why not tfx_bsl's RunInference, which TFX's BulkInferrer uses (tfx_bsl 1.16.1):

- It cannot run `serving_default` of our classifiers: an output with one text a row (`predicted_class`) ends in
  "AttributeError: 'bytes' object has no attribute 'dtype'".
- It builds protocol buffers row by row in Python. Measured on 2 cores with the taxi model's `classify` signature:
  3,900 rows a second in a process of 1.5 GB, two parts of 50,000 rows. The session alone, called as here, does 125,000
  rows a second; a whole batch, reading and both formats of files included, 18,000.
- It keeps no rows that cannot be read, and so cannot give one row out for each row in.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.bulk_inferrer.model_rows import examples_signature, metadata_of
from schema.errors import ReleaseError
from serving.client.layout import CLASSES, Layout, decide
from serving.client.results import Predictions
from serving.client.signatures import Metadata, SignatureSpec

BATCH_ROWS = 2048
"""Rows a call. Always the same ones together: in another batch a float's last bit may be another."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that was loaded.

    Attributes:
        metadata: what it says about itself.
        signature: the signature that is called.
        input: the name of that signature's input.
        probe: what it says about a row in which everything is missing.
    """

    metadata: Metadata
    signature: SignatureSpec
    input: str
    probe: Mapping[str, np.ndarray]
    _graph: Any

    def predict(self, examples: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Returns output name to array, a row an example; texts are bytes.

        Raises:
            ReleaseError: the model fails.
        """
        batches = [self._call(examples[start : start + BATCH_ROWS]) for start in range(0, len(examples), BATCH_ROWS)]
        return {
            name: np.concatenate([batch[name] for batch in batches]) if batches else array[:0]
            for name, array in self.probe.items()
        }

    def layout(self, taken: Sequence[str]) -> Layout:
        """Returns the columns that outputs become, as `conveyor predict` names them.

        Args:
            taken: names that other columns have already.
        """
        outputs = {name: texts(array) for name, array in self.probe.items()}
        return decide(
            self.signature, Predictions(self.signature.name, outputs, np.zeros(1, int), (None,), ("",)), taken
        )

    def check_classes(self, layout: Layout, outputs: Mapping[str, np.ndarray]) -> None:
        """Checks that columns which are named after classes hold those classes in every row.

        Raises:
            ReleaseError: a row has others.
        """
        if layout.classes and not (outputs[CLASSES] == self.probe[CLASSES][0]).all():
            raise ReleaseError(
                f"the output {CLASSES!r} must be {', '.join(layout.classes)} in every row. Got others instead"
            )

    def _call(self, examples: Sequence[bytes]) -> dict[str, np.ndarray]:
        return run_graph(self._graph, self.signature.name, self.input, examples)


def run_graph(graph: Any, signature: str, key: str, examples: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Runs a signature of a `serving.v1_loader.V1Model` on serialized tf.Examples.

    Raises:
        ReleaseError: the model fails, or an output has not a value a row.
    """
    given = np.empty(len(examples), object)
    given[:] = examples
    outputs: dict[str, np.ndarray] = graph(signature, {key: given})
    for name, array in outputs.items():
        if array.shape[:1] != (len(examples),):
            raise ReleaseError(
                f"the output {name!r} must have a value for each of {len(examples)} rows. Got {array.shape} instead",
                hint="name another signature with --signature-name",
            )
    return outputs


_loaded: dict[tuple[str, str, str], Model] = {}
_loading = threading.Lock()


def load_model(path: str, digest: str, name: str, version: int, signature_name: str) -> Model:
    """Returns a model, which a process loads once.

    Args:
        path: the SavedModel's directory.
        digest: its model digest.
        name: the model's name.
        version: its version.
        signature_name: the signature to call.

    Raises:
        ReleaseError: it cannot be loaded, or takes no tf.Examples.
        UsageError: it has no such signature.
    """
    from serving.v1_loader import V1Model

    with _loading:
        key = (path, digest, signature_name)
        if key not in _loaded:
            graph = V1Model(path)
            protos = {name: signature.proto for name, signature in graph.signatures.items()}
            metadata = metadata_of(protos, name, version)
            signature, given = examples_signature(metadata, signature_name)
            _loaded.clear()
            _loaded[key] = Model(metadata, signature, given, run_graph(graph, signature_name, given, [b""]), graph)
        return _loaded[key]


def texts(array: np.ndarray) -> np.ndarray:
    """Returns an array with texts for bytes; others as they are. Bytes that are no UTF-8 become `\\xNN`."""
    if array.dtype != object:
        return array
    known: dict[Any, str] = {}
    out = np.empty(array.size, object)
    for place, value in enumerate(array.reshape(-1)):
        text = known.get(value)
        if text is None:
            text = known[value] = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        out[place] = text
    return out.reshape(array.shape)
