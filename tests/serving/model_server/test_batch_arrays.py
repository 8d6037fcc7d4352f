"""From the inputs of several requests to those of one run, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from serving.model_server.batch_arrays import check_shapes, fits, merged, parts, rows_of
from serving.model_server.errors import Code, ServingError
from serving.v1_loader import Signature, TensorInfo

DTYPES = [np.dtype(name) for name in ("bool", "int8", "uint16", "int64", "float16", "float32", "complex128")]


def error(function: Any, *args: Any) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        function(*args)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"a": np.zeros(2), "b": np.zeros(())}, "Batching Run() input tensors must have at least one dimension"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_inputs_without_a_number_of_rows(feeds: dict[str, np.ndarray], message: str) -> None:
    assert error(rows_of, feeds) == (Code.INVALID_ARGUMENT, message)


def test_the_number_of_rows() -> None:
    assert rows_of({"a": np.zeros((3, 2)), "b": np.zeros(3)}) == 3


@pytest.mark.parametrize(
    ("shape", "dtype", "array", "expected"),
    [
        ((None, 2), "float32", np.zeros((3, 2), np.float32), True),
        ((None, None), "float32", np.zeros((3, 9), np.float32), True),
        (None, "float32", np.zeros((3, 9, 9), np.float32), True),
        ((None,), "string", np.array([b"a"], object), True),
        ((None, 2), "float32", np.zeros((3, 3), np.float32), False),
        ((None, 2), "float32", np.zeros(3, np.float32), False),
        ((None, 2), "float32", np.zeros((3, 2)), False),
        ((None,), "string", np.array([b"a"]), False),
        # Others could not be added.
        ((1, 2), "float32", np.zeros((1, 2), np.float32), False),
    ],
)
def test_what_fits_a_signature(
    shape: tuple[int | None, ...] | None, dtype: str, array: np.ndarray, expected: bool
) -> None:
    signature = Signature("s", "", {"x": TensorInfo("x:0", dtype, shape)}, {}, {})
    assert fits(signature, {"x": array}) is expected


def test_an_input_that_the_signature_has_not() -> None:
    with pytest.raises(KeyError):
        fits(Signature("s", "", {}, {}, {}), {"x": np.zeros(1)})


def test_shapes_that_do_not_go_together() -> None:
    requests = [{"a": np.zeros((1, 2)), "b": np.zeros(1)}, {"a": np.zeros((1, 3)), "b": np.zeros(1)}]
    assert error(check_shapes, requests, False) == (
        Code.FAILED_PRECONDITION,
        "Tensors with name 'a' from different tasks have different shapes and padding is turned off. Set "
        "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions "
        "starting with the first dim.",
    )
    check_shapes(requests, True)
    check_shapes([{"a": np.zeros((1, 2))}, {"a": np.zeros((5, 2))}], False)
    assert error(check_shapes, [{"a": np.zeros((1, 2))}, {"a": np.zeros(1)}], True)[0] is Code.FAILED_PRECONDITION


def test_each_input_is_filled_up_with_its_own_first_value() -> None:
    requests = [{"a": np.array([[1, 2, 3]])}, {"a": np.array([[7], [8]])}]
    assert merged(requests, 0, True)["a"].tolist() == [[1, 2, 3], [7, 7, 7], [8, 7, 7]]
    words = [{"a": np.array([[b"x"]], object)}, {"a": np.array([[b"y", b"z"]], object)}]
    assert merged(words, 0, True)["a"].tolist() == [[b"x", b"x"], [b"y", b"z"]]


def test_what_cannot_be_filled_up() -> None:
    empty = {"a": np.zeros((1, 0))}
    assert error(merged, [empty, {"a": np.zeros((1, 2))}], 0, True) == (
        Code.INVALID_ARGUMENT,
        "Got empty tensor in batch of non-empty tensors.",
    )
    assert merged([empty, empty], 0, True)["a"].shape == (2, 0)
    assert merged([{"a": np.zeros((0, 1))}, {"a": np.zeros((1, 2))}], 0, True)["a"].shape == (1, 2)
    assert error(merged, [{"a": np.zeros((1,) * 7)}] * 2, 0, True) == (
        Code.INVALID_ARGUMENT,
        "Only tensors with rank from 1 to 6 can be padded.",
    )


def test_rows_are_added_that_are_there_already() -> None:
    requests = [{"a": np.array([[1, 2]])}, {"a": np.array([[3, 4], [5, 6]])}, {"a": np.zeros((0, 2), int)}]
    found = merged(requests, 2, False)
    assert found["a"].tolist() == [[1, 2], [3, 4], [5, 6], [3, 4], [3, 4]]
    assert [part["a"].tolist() for part in parts(found, [1, 2, 0], 2)] == [[[1, 2]], [[3, 4], [5, 6]], []]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(()), "Batched output tensor has 0 dimensions"),
        (
            np.zeros(4),
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
            "tensors",
        ),
    ],
)
def test_outputs_without_a_row_for_each(array: np.ndarray, message: str) -> None:
    for sizes, extra in (([3], 0), ([1, 2], 0), ([1, 1], 1)):
        assert error(parts, {"y": np.zeros(3), "z": array}, sizes, extra) == (Code.FAILED_PRECONDITION, message)


@given(data=st.data())
def test_what_is_put_together_comes_apart_again(data: st.DataObject) -> None:
    kinds = {
        key: (data.draw(st.sampled_from(DTYPES)), data.draw(npst.array_shapes(min_dims=0, max_dims=2)))
        for key in data.draw(st.sets(st.sampled_from("abc"), min_size=1))
    }
    sizes = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    requests = [
        {key: np.zeros((rows, *shape), dtype) for key, (dtype, shape) in sorted(kinds.items())} for rows in sizes
    ]
    for index, feeds in enumerate(requests):
        for array in feeds.values():
            array.view(np.uint8).fill(index + 1)
    extra = data.draw(st.integers(0, 3)) if any(sizes) else 0
    check_shapes(requests, False)
    together = merged(requests, extra, False)
    assert all(array.shape[0] == sum(sizes) + extra for array in together.values())
    for feeds, found in zip(requests, parts(together, sizes, extra), strict=True):
        assert set(found) == set(feeds)
        for key, array in feeds.items():
            assert found[key].shape == array.shape and found[key].dtype == array.dtype
            assert found[key].tobytes() == array.tobytes()
