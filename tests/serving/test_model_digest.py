"""Equal digest, equal model: one bit anywhere in what makes the answers is another digest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schema.errors import ReleaseError
from serving.model_digest import model_digest, part_digests

WORDS = "red\ngreen\n"
WEIGHTS = np.array([[1.5, -2.0], [0.25, 3.0]], np.float32)


def save(
    path: Path,
    *,
    words: str = WORDS,
    weights: Any = WEIGHTS,
    key: str = "serving_default",
    width: Any = None,
    constant: float = 0.5,
    default: float = 0.0,
) -> Path:
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    vocabulary = path.parent / "words.txt"
    vocabulary.write_text(words)
    module = tf.Module()
    initializer = tf.lookup.TextFileInitializer(
        str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(initializer, 0)
    module.weights = tf.Variable(weights)
    extra = tf.constant([default])

    def serve(word: Any = tf.constant([b"red"]), shift: Any = extra) -> dict[str, Any]:  # noqa: B008
        return {"y": tf.gather(module.weights, module.table.lookup(word)) * constant + shift[:, None]}

    specs = [tf.TensorSpec([width], tf.string, name="word"), tf.TensorSpec([width], tf.float32, name="shift")]
    tf.saved_model.save(module, str(path), signatures={key: tf.function(serve, input_signature=specs)})
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("digest") / "1")


def test_equal_models_have_equal_digests_wherever_they_are(original: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    # Functions made in between give the second export other names
    for i in range(3):
        tf.function(lambda x, i=i: x + i)(tf.constant(1))
    again = save(tmp_path / "elsewhere" / "7")
    assert (again / "saved_model.pb").read_bytes() != (original / "saved_model.pb").read_bytes()
    assert model_digest(again) == model_digest(original)
    assert part_digests(again) == part_digests(original)
    assert len(model_digest(again)) == 64


def one_bit(weights: np.ndarray) -> np.ndarray:
    bits = weights.copy()
    bits.view(np.uint32)[0, 0] ^= 1
    return bits


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"weights": one_bit(WEIGHTS)}, "variables"),
        ({"weights": WEIGHTS.astype(np.float32).reshape(2, 2).T.copy()}, "variables"),
        ({"words": "red\ngreeo\n"}, "assets"),
        ({"words": "green\nred\n"}, "assets"),
        ({"key": "serving_defaulu"}, "signatures"),
        ({"width": 1}, "signatures"),
        ({"default": float(np.float32(1e-45))}, "signatures"),
        ({"constant": 0.5000001}, "operations"),
    ],
    ids=["variable bit", "variable order", "asset bit", "asset order", "signature", "shape", "default bit", "constant"],
)
def test_any_change_changes_the_digest(original: Path, tmp_path: Path, change: dict[str, Any], part: str) -> None:
    changed = save(tmp_path / "1", **change)
    assert model_digest(changed) != model_digest(original)
    one, two = part_digests(original), part_digests(changed)
    assert part in {name.partition("/")[0] for name in {*one, *two} if one.get(name) != two.get(name)}


def test_a_changed_file_changes_the_digest(original: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(original, tmp_path / "1"))
    assert model_digest(copy) == model_digest(original)
    (copy / "assets.extra").mkdir()
    (copy / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"x")
    assert model_digest(copy) == model_digest(original)
    asset = next((copy / "assets").iterdir())
    asset.write_bytes(asset.read_bytes() + b"\n")
    assert model_digest(copy) != model_digest(original)


def test_one_bit_of_a_signature_default_changes_the_digest(original: Path, tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    copy = Path(shutil.copytree(original, tmp_path / "1"))
    file = copy / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    file.write_bytes(proto.SerializeToString(deterministic=True))
    assert model_digest(copy) == model_digest(original)
    for meta_graph in proto.meta_graphs:
        meta_graph.signature_def["serving_default"].defaults["word"].string_val[0] = b"ree"
    file.write_bytes(proto.SerializeToString(deterministic=True))
    assert model_digest(copy) != model_digest(original)


def test_a_damaged_model_is_named(original: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="must be a SavedModel. Got FileNotFoundError"):
        model_digest(tmp_path)
    copy = Path(shutil.copytree(original, tmp_path / "1"))
    data = next(copy.glob("variables/variables.data*"))
    data.write_bytes(data.read_bytes()[:10])
    with pytest.raises(ReleaseError, match="must be a readable checkpoint"):
        model_digest(copy)
    copy = Path(shutil.copytree(original, tmp_path / "2"))
    data = next(copy.glob("variables/variables.data*"))
    content = bytearray(data.read_bytes())
    content[1] ^= 1
    data.write_bytes(content)
    # A checkpoint has checksums: a flipped bit on disk is found out, and never taken for another model
    with pytest.raises(ReleaseError, match="must be a readable checkpoint"):
        model_digest(copy)
