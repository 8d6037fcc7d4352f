"""Small SavedModels for the tests of the model server, written in milliseconds.

One graph is built once a session. A model is a copy of it in which one number is another: `offset`, by which a test
tells the versions apart.

Signatures (`x: float32 [N]` is an input or output `x` with that dtype and shape):

    serving_default   x: float32 [N] -> y: float32 [N]; y = x / 2 + offset
    predict_multi     words: string [N], counts: int64 [N]
                      -> upper: string [N], doubled: int64 [N], words_bytes: string [N] (`words` as they are)
    with_default      x: float32 [N], add: float32 [1] (default [10.0]) -> z: float32 [N]; z = x + add
    matrix            m: float32 [N, 2] -> n: float32 [N, 3]; n = m @ [[1, 2, 3], [4, 5, 6]]
    uneven            x: float32 [N] -> y: float32 [N], total: float32 []; total = sum(x)
    all_types         an input and an output, both named by the dtype, for each of `DTYPES`; what goes in comes out
    any_shape         x: float32, unknown rank -> y: float32, unknown rank; y = x
    classify          inputs: string [N] (tf.Examples)
                      -> classes: string [N, 2] = ["low", "high"], scores: float32 [N, 2] = [1 - x, x]
    classify_scores   as classify, `scores` only
    classify_classes  as classify, `classes` only
    regress           inputs: string [N] (tf.Examples) -> outputs: float32 [N, 1] = x / 2 + offset
    regress_flat      as regress, outputs: float32 [N]
    fails             x: float32 [N] -> y: float32 [N]; always fails with INVALID_ARGUMENT, text `this signature fails`
    slow              loops: int64 [] -> n: int64 []; counts to `loops` in TensorFlow (about 100,000 a second)
    not_parsed        inputs: float32 [N] -> outputs: float32 [N]; a regress signature that takes no examples

The tf.Examples have one feature, `x: float [1]`, 0 where it is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
# half and bfloat16 too: clients send them, though no typed field of their own carries them.
DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128", "bool", "string"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)

Breakage = Literal["empty", "corrupt", "only variables", "no variables", "other tags", "a file"]


class ToyModels:
    """Writes toy models. Get it from the fixture `toy_models`.

    Args:
        folder: a folder of its own, where the template is built at first use.
    """

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template"

    def write(
        self,
        base_path: Path,
        version: int | str = 1,
        *,
        offset: float = 2.0,
        warm_up: Sequence[Any] | bytes | None = None,
    ) -> Path:
        """Writes a version that loads; it appears under its name at once and whole.

        Args:
            base_path: the model's base path; made if need be.
            version: the version's number, or the folder's name.
            offset: what `serving_default` and `regress` add.
            warm_up: the PredictionLogs of a warm-up file, or the file's very bytes.

        Returns:
            The version's folder.
        """
        self._build()
        temporary = base_path / f".tmp-{version}"
        shutil.copytree(self._template, temporary)
        proto = _saved_model(temporary)
        node = next(n for n in proto.meta_graphs[0].graph_def.node if n.name == "offset")
        node.attr["value"].tensor.ClearField("float_val")
        node.attr["value"].tensor.float_val.append(offset)
        (temporary / "saved_model.pb").write_bytes(proto.SerializeToString())
        if warm_up is not None:
            file = temporary / WARM_UP_FILE
            file.parent.mkdir()
            file.write_bytes(warm_up if isinstance(warm_up, bytes) else tfrecord(warm_up))
        return temporary.rename(base_path / str(version))

    def write_broken(self, base_path: Path, version: int | str, breakage: Breakage) -> Path:
        """Writes a version that does not load, and returns its folder.

        Args:
            base_path: the model's base path; made if need be.
            version: the version's number, or the folder's name.
            breakage: what is wrong with it. `empty`: an empty folder; `corrupt`: saved_model.pb is no protocol buffer;
                `only variables`: there is no saved_model.pb; `no variables`: there is nothing else; `other tags`: its
                meta graph is tagged `train`; `a file`: it is no folder.
        """
        target = base_path / str(version)
        if breakage in ("empty", "a file"):
            base_path.mkdir(parents=True, exist_ok=True)
            target.mkdir() if breakage == "empty" else target.write_text("no folder")
            return target
        hidden = self.write(base_path, f".broken-{version}")
        graph = hidden / "saved_model.pb"
        if breakage == "corrupt":
            graph.write_bytes(b"\xff" * 100)
        elif breakage == "only variables":
            graph.unlink()
        elif breakage == "no variables":
            shutil.rmtree(hidden / "variables")
        else:
            proto = _saved_model(hidden)
            proto.meta_graphs[0].meta_info_def.tags[:] = ["train"]
            graph.write_bytes(proto.SerializeToString())
        return hidden.rename(target)

    def _build(self) -> None:
        if not self._template.is_dir():
            _write_template(self._template)


def example(x: float | None = None) -> bytes:
    """Returns a serialized tf.Example as `classify` and `regress` take it."""
    import tensorflow as tf

    message = tf.train.Example()
    if x is not None:
        message.features.feature["x"].float_list.value.append(x)
    return message.SerializeToString()


def predict_log(signature: str = "serving_default", **inputs: Any) -> Any:
    """Returns a PredictionLog of a Predict request, e.g. `predict_log(x=np.float32([1.0]))`."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "toy"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.asarray(value)))
    return log


def example_log(kind: Literal["classify_log", "regress_log"], signature: str, examples: Sequence[bytes]) -> Any:
    """Returns a PredictionLog of a Classify or Regress request."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, kind).request
    request.model_spec.name = "toy"
    request.model_spec.signature_name = signature
    for item in examples:
        request.input.example_list.examples.add().ParseFromString(item)
    return log


def tfrecord(logs: Sequence[Any]) -> bytes:
    """Returns messages as the bytes of a TFRecord file."""
    import tempfile

    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "records"
        with tf.io.TFRecordWriter(str(file)) as writer:
            for log in logs:
                writer.write(log if isinstance(log, bytes) else log.SerializeToString(deterministic=True))
        return file.read_bytes()


def _saved_model(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def _write_template(folder: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    methods = {
        "classify": v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME,
        "regress": v1.saved_model.signature_constants.REGRESS_METHOD_NAME,
        "predict": v1.saved_model.signature_constants.PREDICT_METHOD_NAME,
    }
    signatures: dict[str, Any] = {}

    def sign(name: str, inputs: dict[str, Any], outputs: dict[str, Any], method: str = "predict") -> Any:
        signatures[name] = v1.saved_model.build_signature_def(
            {key: v1.saved_model.build_tensor_info(t) for key, t in inputs.items()},
            {key: v1.saved_model.build_tensor_info(t) for key, t in outputs.items()},
            methods[method],
        )
        return signatures[name]

    with tf.Graph().as_default(), v1.Session() as session:
        slope = v1.get_variable("slope", initializer=tf.constant(0.5), use_resource=True)
        offset = tf.constant(2.0, name="offset")
        x = v1.placeholder(tf.float32, [None], name="x")
        y = tf.add(x * slope, offset, name="y")
        sign("serving_default", {"x": x}, {"y": y})

        words = v1.placeholder(tf.string, [None], name="words")
        counts = v1.placeholder(tf.int64, [None], name="counts")
        outputs = {"upper": tf.strings.upper(words), "doubled": counts * 2, "words_bytes": tf.identity(words)}
        sign("predict_multi", {"words": words, "counts": counts}, outputs)

        add = v1.placeholder(tf.float32, [1], name="add")
        signature = sign("with_default", {"x": x, "add": add}, {"z": x + add})
        signature.defaults["add"].CopyFrom(tf.make_tensor_proto([10.0], tf.float32))

        m = v1.placeholder(tf.float32, [None, 2], name="m")
        sign("matrix", {"m": m}, {"n": tf.matmul(m, tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))})
        sign("uneven", {"x": x}, {"y": y, "total": tf.reduce_sum(x)})
        typed = {name: v1.placeholder(name, [None], name=f"in_{name}") for name in DTYPES}
        sign("all_types", typed, {name: tf.identity(t) for name, t in typed.items()})
        free = v1.placeholder(tf.float32, name="free")
        sign("any_shape", {"x": free}, {"y": tf.identity(free)})

        serialized = v1.placeholder(tf.string, [None], name="examples")
        parsed = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([], tf.float32, default_value=0.0)})["x"]
        classes = tf.tile(tf.constant([["low", "high"]]), [tf.shape(parsed)[0], 1])
        scores = tf.stack([1.0 - parsed, parsed], axis=1)
        regressed = parsed * slope + offset
        sign("classify", {"inputs": serialized}, {"classes": classes, "scores": scores}, "classify")
        sign("classify_scores", {"inputs": serialized}, {"scores": scores}, "classify")
        sign("classify_classes", {"inputs": serialized}, {"classes": classes}, "classify")
        sign("regress", {"inputs": serialized}, {"outputs": regressed[:, None]}, "regress")
        sign("regress_flat", {"inputs": serialized}, {"outputs": regressed}, "regress")
        sign("not_parsed", {"inputs": x}, {"outputs": y}, "regress")

        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(x != x), ["this signature fails"])]):
            sign("fails", {"x": x}, {"y": tf.identity(x)})
        loops = v1.placeholder(tf.int64, [], name="loops")
        counted = tf.while_loop(lambda i: i < loops, lambda i: i + 1, [tf.constant(0, tf.int64)], name="count")
        sign("slow", {"loops": loops}, {"n": counted[0] if isinstance(counted, (list, tuple)) else counted})

        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures, strip_default_attrs=True)
        builder.save()
