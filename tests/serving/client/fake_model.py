"""A model of a few lines of numpy, for the tests of the client.

The model `people` has these signatures (`age: int64 [N]` is an input or output with that dtype and shape):

    serving_raw      age: int64 [N], fare: float32 [N], kind: string [N], each with a default
                     -> classes: string [N, 2] = ["no", "yes"], scores: float32 [N, 2], kind_bytes: string [N]
    serving_default  examples: string [N] (tf.Examples of these columns) -> the same
    classify         inputs: string [N] -> classes, scores
    regress          inputs: string [N] -> outputs: float32 [N]
    vectors          v: float32 [N, 2] -> total: float32 [N]; has no default
    scaled           x: float32 [N], factor: float32 [1], default [10.0] -> y: float32 [N], sum: float32 []

The score of "yes" is `fare / 100 + age / 1000`, of what is missing nothing.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving import messages
from serving.model_server import tensor_codec
from serving.model_server.errors import Code, ServingError

LEAST = np.iinfo(np.int64).min
_TYPES = {"float32": "DT_FLOAT", "int64": "DT_INT64", "string": "DT_STRING"}
_RAW = {"age": ("int64", [None]), "fare": ("float32", [None]), "kind": ("string", [None])}
_OUT = {"classes": ("string", [None, 2]), "scores": ("float32", [None, 2]), "kind_bytes": ("string", [None])}


@dataclasses.dataclass
class Failure:
    """An answer that is an error.

    Attributes:
        code: its code.
        message: its message.
        wait: seconds that a client is asked to wait, or None.
    """

    code: Code
    message: str = "not now"
    wait: int | None = None


@dataclasses.dataclass
class Seen:
    """A request as it came.

    Attributes:
        method: `Predict`, `Classify`, `Regress`, `GetModelMetadata` or `GetModelStatus`.
        headers: gRPC metadata or HTTP headers, names in lower case.
        model: `name`, `name/versions/3` or `name/labels/canary`.
        signature: the signature that it names.
        inputs: Predict: the tensors.
        examples: Classify, Regress: the tf.Examples.
        output_filter: the outputs that it asks for.
    """

    method: str
    headers: dict[str, str]
    model: str
    signature: str = ""
    inputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    examples: list[Any] = dataclasses.field(default_factory=list)
    output_filter: list[str] = dataclasses.field(default_factory=list)


class FakeModel:
    """The model and what was asked of it.

    Attributes:
        seen: the requests, in order; those that failed too.
        failures: what the next requests get in place of an answer; None lets one through.
        defaults: whether metadata has the defaults of inputs (an old server does not).
        version: the version that answers.
        hold: while it is cleared, no request is answered.
        raw: the inputs of `serving_raw`: dtype and shape by name.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.failures: deque[Failure | None] = deque()
        self.version = 3
        self.defaults = True
        self.hold = threading.Event()
        self.hold.set()
        self.raw: dict[str, tuple[str, list[int | None]]] = dict(_RAW)
        self.lock = threading.Lock()

    def methods(self) -> list[str]:
        """Returns the methods of the requests, in order."""
        return [seen.method for seen in self.seen]

    def predicts(self) -> list[Seen]:
        """Returns the Predict requests."""
        return [seen for seen in self.seen if seen.method == "Predict"]

    def signatures(self) -> Any:
        """Returns the SignatureDefMap."""
        found = messages.SignatureDefMap()
        defaults: dict[str, np.ndarray] = {
            "age": np.array([LEAST]),
            "fare": np.array([np.nan], np.float32),
            "kind": np.array([b""], object),
        }
        predict = "tensorflow/serving/predict"
        _add(found, "serving_raw", predict, self.raw, _OUT, defaults if self.defaults else {})
        _add(found, "serving_default", predict, {"examples": ("string", [None])}, _OUT, {})
        classify = {name: _OUT[name] for name in ("classes", "scores")}
        inputs: Any = {"inputs": ("string", [None])}
        _add(found, "classify", predict, inputs, classify, {})
        _add(found, "regress", predict, inputs, {"outputs": ("float32", [None])}, {})
        _add(found, "vectors", predict, {"v": ("float32", [None, 2])}, {"total": ("float32", [None])}, {})
        scaled: Any = {"x": ("float32", [None]), "factor": ("float32", [1])}
        outputs: Any = {"y": ("float32", [None]), "sum": ("float32", [])}
        _add(found, "scaled", predict, scaled, outputs, {"factor": np.array([10.0], np.float32)})
        found.signature_def["__saved_model_init_op"].method_name = ""
        return found

    def take(self, seen: Seen) -> None:
        """Takes note of a request; raises what it fails with."""
        with self.lock:
            self.seen.append(seen)
            failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            error = ServingError(failure.code, failure.message)
            error.wait = failure.wait  # type: ignore[attr-defined]
            raise error
        self.hold.wait(30)

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers Predict."""
        if signature == "vectors":
            return {"total": inputs["v"].sum(axis=1)}
        if signature == "scaled":
            y = inputs["x"] * inputs.get("factor", np.array([10.0], np.float32))
            return {"y": y, "sum": y.sum()}
        if signature == "serving_default":
            examples = [messages.Example.FromString(raw) for raw in inputs["examples"]]
            scores = np.array([self.score(example) for example in examples], np.float32)
            kinds = [example.features.feature["kind"].bytes_list.value for example in examples]
            kind = np.array([values[0] if values else b"" for values in kinds], object)
        else:
            if set(inputs) != set(self.raw):
                raise ServingError(Code.INVALID_ARGUMENT, f"input size does not match signature: {sorted(inputs)}")
            age = np.where(inputs["age"] == LEAST, 0, inputs["age"])
            scores = (np.nan_to_num(inputs["fare"]) / 100 + age / 1000).astype(np.float32)
            kind = inputs["kind"]
        classes = np.tile(np.array([b"no", b"yes"], object), (len(scores), 1))
        return {"classes": classes, "scores": np.stack([1 - scores, scores], axis=1), "kind_bytes": kind}

    def score(self, example: Any) -> float:
        """Returns the score of a tf.Example, of which the types must be right."""
        features = example.features.feature
        fare = features["fare"].float_list.value if "fare" in features else []
        age = features["age"].int64_list.value if "age" in features else []
        for name, kind in (("fare", "float_list"), ("age", "int64_list"), ("kind", "bytes_list")):
            if name in features and features[name].WhichOneof("kind") != kind:
                raise ServingError(Code.INVALID_ARGUMENT, f"{name} must be a {kind}")
        return (fare[0] if fare else 0.0) / 100 + (age[0] if age else 0) / 1000


def _add(found: Any, name: str, method: str, inputs: Any, outputs: Any, defaults: Any) -> None:
    signature = found.signature_def[name]
    signature.method_name = method
    for tensors, specs in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for key, (dtype, shape) in specs.items():
            tensors[key].name = f"{key}:0"
            tensors[key].dtype = messages.DATA_TYPES[_TYPES[dtype]]
            for size in shape:
                tensors[key].tensor_shape.dim.add(size=-1 if size is None else size)
            tensors[key].tensor_shape.SetInParent()
    for key, value in defaults.items():
        tensor_codec.fill_tensor(signature.defaults[key], value)
