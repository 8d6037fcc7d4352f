"""A loaded version: what it answers, how it fails, what it leaves behind."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.model_server import servable as module
from serving.model_server.errors import Code, ServingError
from serving.model_server.servable import Servable
from serving.model_server.session import SessionOptions
from tests.serving.model_server.toy_models import DTYPES, Breakage, ToyModels, example


@pytest.fixture(scope="module")
def toy(toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    servable = Servable("toy", 7, toy_models.write(tmp_path_factory.mktemp("toy"), 7))
    yield servable
    servable.close()


def run(servable: Servable, name: str, feeds: dict[str, Any], *fetches: str) -> list[np.ndarray]:
    return servable.run(servable.signatures[name], feeds, fetches)


def failure(servable: Servable, name: str, feeds: dict[str, Any], *fetches: str) -> ServingError:
    with pytest.raises(ServingError) as caught:
        run(servable, name, feeds, *fetches)
    return caught.value


def test_says_what_it_is(toy: Servable, toy_models: ToyModels) -> None:
    assert (toy.name, toy.version, toy.path.name) == ("toy", 7, "7")
    assert toy.signatures["serving_default"].inputs["x"].shape == (None,)
    assert toy.signatures["with_default"].defaults["add"].tolist() == [10.0]
    assert toy.signatures["serving_default"].proto.outputs["y"].name == "y:0"
    assert list(toy.signature_defs) == sorted(toy.signatures)


def test_metadata_has_the_initialization_signatures_too(tmp_path: Path) -> None:
    import tensorflow as tf

    double = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"), signatures={"double": double})
    servable = Servable("m", 1, tmp_path / "1")
    assert list(servable.signatures) == ["double"]
    assert list(servable.signature_defs) == ["__saved_model_init_op", "double"]
    assert run(servable, "double", {"x": np.float32([4])}, "y")[0].tolist() == [8.0]
    servable.close()


def test_fetches_come_in_the_order_asked_for(toy: Servable) -> None:
    feeds = {"counts": np.int64([1, 2]), "words": np.array([b"a", b"\xff"], dtype=object)}
    for fetches in (["upper", "doubled", "words_bytes"], ["words_bytes", "upper", "doubled"], ["doubled"], ["upper"]):
        results = dict(zip(fetches, run(toy, "predict_multi", feeds, *fetches), strict=True))
        expected = {"upper": [b"A", b"\xff"], "doubled": [2, 4], "words_bytes": [b"a", b"\xff"]}
        assert {key: value.tolist() for key, value in results.items()} == {key: expected[key] for key in fetches}


def test_the_order_of_feeds_does_not_matter(toy: Servable) -> None:
    words, counts = np.array([b"a"], dtype=object), np.int64([3])
    for feeds in ({"words": words, "counts": counts}, {"counts": counts, "words": words}):
        assert run(toy, "predict_multi", feeds, "doubled")[0].tolist() == [6]


def test_rank_0_is_an_array_too(toy: Servable) -> None:
    y, total = run(toy, "uneven", {"x": np.float32([1, 2])}, "y", "total")
    assert isinstance(total, np.ndarray) and total.shape == () and total.dtype == np.float32 and total == 3.0
    assert y.tolist() == [2.5, 3.0]
    scalar = run(toy, "any_shape", {"x": np.array(1.5, np.float32)}, "y")[0]
    assert isinstance(scalar, np.ndarray) and scalar.shape == ()


def test_every_dtype_goes_through(toy: Servable) -> None:
    import tensorflow as tf

    feeds = {name: np.array([1, 0], dtype=tf.as_dtype(name).as_numpy_dtype) for name in DTYPES if name != "string"}
    feeds["string"] = np.array([b"\x00\xff", b""], dtype=object)
    for name, value in zip(DTYPES, run(toy, "all_types", feeds, *DTYPES), strict=True):
        assert value.dtype == feeds[name].dtype, name
        assert value.tolist() == feeds[name].tolist(), name


def test_empty_batches_go_through(toy: Servable) -> None:
    assert run(toy, "serving_default", {"x": np.zeros(0, np.float32)}, "y")[0].shape == (0,)
    assert run(toy, "classify", {"inputs": np.array([], dtype=object)}, "scores")[0].shape == (0, 2)


def test_examples(toy: Servable) -> None:
    examples = np.array([example(0.25), example()], dtype=object)
    classes, scores = run(toy, "classify", {"inputs": examples}, "classes", "scores")
    assert classes.tolist() == [[b"low", b"high"]] * 2 and scores.tolist() == [[0.75, 0.25], [1.0, 0.0]]
    assert run(toy, "regress", {"inputs": examples}, "outputs")[0].tolist() == [[2.125], [2.0]]


@pytest.mark.parametrize(
    ("name", "feeds", "fetch", "message"),
    [
        ("serving_default", {"x": np.array([b"a"], object)}, "y", "Expects arg[0] to be float but string is provided"),
        ("serving_default", {"x": np.array([b"a"])}, "y", "Expects arg[0] to be float but string is provided"),
        ("serving_default", {"x": np.int64([1])}, "y", "Expects arg[0] to be float but int64 is provided"),
        ("serving_default", {"x": np.float64([1])}, "y", "Expects arg[0] to be float but double is provided"),
        ("serving_default", {"x": np.float16([1])}, "y", "Expects arg[0] to be float but half is provided"),
        # Feeds count in the order of their tensors' names: counts:0, words:0.
        (
            "predict_multi",
            {"words": np.int32([1]), "counts": np.int64([1])},
            "upper",
            "Expects arg[1] to be string but int32 is provided",
        ),
        (
            "predict_multi",
            {"words": np.int32([1]), "counts": np.bool_([True])},
            "upper",
            "Expects arg[0] to be int64 but bool is provided",
        ),
    ],
)
def test_a_wrong_dtype_is_told_as_tensorflow_serving_tells_it(
    toy: Servable, name: str, feeds: dict[str, Any], fetch: str, message: str
) -> None:
    error = failure(toy, name, feeds, fetch)
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("name", "feeds", "fetch", "message"),
    [
        ("matrix", {"m": np.ones((1, 3), np.float32)}, "n", "Matrix size-incompatible: In[0]: [1,3], In[1]: [2,3]"),
        ("matrix", {"m": np.ones(2, np.float32)}, "n", "In[0] and In[1] has different ndims: [2] vs. [2,3]"),
        ("fails", {"x": np.float32([1])}, "y", "assertion failed: [this signature fails]"),
        ("serving_default", {}, "y", "You must feed a value for placeholder tensor 'x' with dtype float"),
        ("classify", {"inputs": np.array([b"\xff"], dtype=object)}, "scores", "Could not parse example input"),
    ],
)
def test_a_graphs_failure_has_tensorflows_code_and_words(
    toy: Servable, name: str, feeds: dict[str, Any], fetch: str, message: str
) -> None:
    error = failure(toy, name, feeds, fetch)
    assert error.code is Code.INVALID_ARGUMENT
    assert message in error.message


def test_a_failed_request_leaves_the_next_one_alone(toy: Servable) -> None:
    failure(toy, "serving_default", {"x": np.array([b"a"], dtype=object)}, "y")
    assert run(toy, "serving_default", {"x": np.float32([1])}, "y")[0].tolist() == [2.5]


def test_an_unknown_key_is_the_callers_mistake(toy: Servable) -> None:
    with pytest.raises(KeyError):
        run(toy, "serving_default", {"x": np.float32([1])}, "z")
    with pytest.raises(KeyError):
        run(toy, "serving_default", {"z": np.float32([1])}, "y")


def test_answers_several_threads_at_once(toy: Servable) -> None:
    def ask(number: int) -> bool:
        x = np.full(number % 50 + 1, number, np.float32)
        y, total = run(toy, "uneven", {"x": x}, "y", "total")
        return bool((y == x / 2 + 2).all() and total == x.sum())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_the_gil_is_free_while_tensorflow_works(toy: Servable) -> None:
    begun, done = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        run(toy, "slow", {"loops": np.array(200_000, np.int64)}, "n")
        done.set()

    run(toy, "slow", {"loops": np.array(1, np.int64)}, "n")
    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    for _ in range(100):
        run(toy, "serving_default", {"x": np.float32([1])}, "y")
    assert not done.is_set()
    thread.join()


def test_prepared_calls_are_bounded_and_the_whole_ones_stay(
    toy_models: ToyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CALLS", 4)
    servable = Servable("m", 1, toy_models.write(tmp_path, 1))
    prepared: list[tuple[str, ...]] = []
    make = module.make_callable

    def counting(session: Any, feeds: Any, fetches: Any, pool: int) -> Any:
        prepared.append(tuple(fetches))
        return make(session, feeds, fetches, pool)

    monkeypatch.setattr(module, "make_callable", counting)
    feeds = {"words": np.array([b"a"], dtype=object), "counts": np.int64([1])}
    subsets = [["upper"], ["doubled"], ["words_bytes"], ["upper", "doubled"], ["doubled", "words_bytes"]]
    whole = ["upper", "doubled", "words_bytes"]
    run(servable, "predict_multi", feeds, *whole)
    for subset in subsets * 3:
        assert len(run(servable, "predict_multi", feeds, *subset)) == len(subset)
    assert len(servable._calls) <= 4
    before = len(prepared)
    run(servable, "predict_multi", feeds, *reversed(whole))
    assert len(prepared) == before
    servable.close()


@pytest.mark.parametrize(
    ("breakage", "code", "message"),
    [
        ("empty", Code.NOT_FOUND, "Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}."),
        (
            "a file",
            Code.NOT_FOUND,
            "Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}.",
        ),
        ("only variables", Code.NOT_FOUND, "Could not find SavedModel .pb or .pbtxt"),
        ("corrupt", Code.DATA_LOSS, "Can't parse {path}/saved_model.pb as binary proto"),
        ("other tags", Code.NOT_FOUND, "Could not find meta graph def matching supplied tags: {{ serve }}."),
        ("no variables", Code.INVALID_ARGUMENT, "{path}/variables/variables"),
    ],
)
def test_what_does_not_load_says_why(
    toy_models: ToyModels, tmp_path: Path, breakage: Breakage, code: Code, message: str
) -> None:
    path = toy_models.write_broken(tmp_path, 1, breakage)
    with pytest.raises(ServingError) as caught:
        Servable("m", 1, path)
    assert caught.value.code is code
    assert message.format(path=path) in caught.value.message


def test_cut_variables_do_not_load(toy_models: ToyModels, tmp_path: Path) -> None:
    path = toy_models.write(tmp_path, 1)
    (path / "variables" / "variables.index").write_bytes(b"cut")
    with pytest.raises(ServingError) as caught:
        Servable("m", 1, path)
    assert caught.value.code in (Code.DATA_LOSS, Code.INVALID_ARGUMENT, Code.NOT_FOUND)


def test_other_tags_can_be_asked_for(toy_models: ToyModels, tmp_path: Path) -> None:
    path = toy_models.write_broken(tmp_path, 1, "other tags")
    servable = Servable("m", 1, path, SessionOptions(tags=("train",)))
    assert run(servable, "serving_default", {"x": np.float32([1])}, "y")[0].tolist() == [2.5]
    servable.close()


def test_a_pool_of_threads_gives_the_same_answers(toy_models: ToyModels, tmp_path: Path) -> None:
    servable = Servable("m", 1, toy_models.write(tmp_path, 1), SessionOptions(2, 2))
    assert run(servable, "serving_default", {"x": np.float32([1])}, "y")[0].tolist() == [2.5]
    servable.close()


def test_a_closed_servable_is_gone_without_a_garbage_collection(toy_models: ToyModels, tmp_path: Path) -> None:
    path = toy_models.write(tmp_path, 1)
    gc.collect()
    gc.disable()
    try:
        servable = Servable("m", 1, path)
        run(servable, "serving_default", {"x": np.float32([1])}, "y")
        assert servable._loaded is not None
        remains = [weakref.ref(o) for o in (servable, servable._loaded.session, servable._loaded.graph)]
        servable.close()
        assert [ref() for ref in remains[1:]] == [None, None]
        del servable
        assert remains[0]() is None
    finally:
        gc.enable()


def test_what_a_closed_servable_held_is_freed_though_an_error_is_kept(toy_models: ToyModels, tmp_path: Path) -> None:
    servable = Servable("m", 1, toy_models.write(tmp_path, 1))
    kept = failure(servable, "serving_default", {"x": np.int32([1])}, "y")
    assert servable._loaded is not None
    session = servable._loaded.session
    servable.close()
    assert session._session is None
    assert failure(servable, "serving_default", {"x": np.float32([1])}, "y").code is Code.UNAVAILABLE
    assert kept.__traceback__ is not None


def test_closing_twice_is_harmless(toy_models: ToyModels, tmp_path: Path) -> None:
    servable = Servable("m", 1, toy_models.write(tmp_path, 1))
    servable.close()
    servable.close()
