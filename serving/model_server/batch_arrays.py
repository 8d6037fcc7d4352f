"""From the inputs of several requests to those of one run, and from its outputs to those of each request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from serving.model_server.errors import Code, ServingError

if TYPE_CHECKING:
    from serving.v1_loader import Signature

_MAX_PADDED_RANK = 6


def rows_of(feeds: Mapping[str, np.ndarray]) -> int:
    """Returns the number of rows of a request's inputs.

    Raises:
        ServingError: INVALID_ARGUMENT; there is no input, one has rank 0, or they do not have equally many.
    """
    sizes = set()
    for array in feeds.values():
        if not array.ndim:
            raise ServingError(Code.INVALID_ARGUMENT, "Batching Run() input tensors must have at least one dimension")
        sizes.add(array.shape[0])
    if not sizes:
        raise ServingError(Code.INVALID_ARGUMENT, "Batching Run() must have at least one input tensor")
    if len(sizes) > 1:
        raise ServingError(Code.INVALID_ARGUMENT, "Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def fits(signature: Signature, feeds: Mapping[str, np.ndarray]) -> bool:
    """Returns whether inputs have the types and shapes that a signature names, and rows that others can be added to.

    What does not may well fail, which is to be no other request's failure.

    Raises:
        KeyError: an input is not the signature's.
    """
    for key, array in feeds.items():
        info = signature.inputs[key]
        if ("string" if array.dtype == object else array.dtype.name) != info.dtype:
            return False
        if info.shape is None:
            continue
        if len(info.shape) != array.ndim or info.shape[0] is not None:
            return False
        if any(size not in (None, got) for size, got in zip(info.shape[1:], array.shape[1:], strict=True)):
            return False
    return True


def check_shapes(requests: Sequence[Mapping[str, np.ndarray]], pad: bool) -> None:
    """Checks that the inputs of requests can be put together.

    Args:
        requests: of each, input key to array; all have the same keys.
        pad: inputs are filled up, so that only their ranks must be equal.

    Raises:
        ServingError: FAILED_PRECONDITION; they cannot.
    """
    first = requests[0]
    for feeds in requests[1:]:
        for key, array in feeds.items():
            other = first[key]
            if array.ndim != other.ndim or (not pad and array.shape[1:] != other.shape[1:]):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Tensors with name '{key}' from different tasks have different shapes and padding is turned off. "
                    "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                    "dimensions starting with the first dim.",
                )


def merged(requests: Sequence[Mapping[str, np.ndarray]], extra_rows: int, pad: bool) -> dict[str, np.ndarray]:
    """Returns the inputs of requests, one after the other.

    Args:
        requests: of each, input key to array; all have the same keys, and `check_shapes` has passed.
        extra_rows: rows to add at the end, which repeat one that is there; there must be one then.
        pad: fill up each dimension but the first to the largest of any request, each with its own first value.

    Raises:
        ServingError: INVALID_ARGUMENT; an input cannot be filled up.
    """
    result = {}
    for key in requests[0]:
        arrays = [feeds[key] for feeds in requests]
        if pad:
            arrays = _padded(arrays)
        if extra_rows:
            last = next(array for array in reversed(arrays) if array.shape[0])
            arrays.append(np.repeat(last[:1], extra_rows, axis=0))
        result[key] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return result


def parts(outputs: Mapping[str, np.ndarray], sizes: Sequence[int], extra_rows: int) -> list[dict[str, np.ndarray]]:
    """Returns each request's outputs.

    Args:
        outputs: output key to array.
        sizes: rows of each request, in the order in which their inputs were put together.
        extra_rows: rows at the end that are nobody's.

    Raises:
        ServingError: FAILED_PRECONDITION; an output has not a row for each of the inputs'.
    """
    total = sum(sizes) + extra_rows
    for array in outputs.values():
        if not array.ndim:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if array.shape[0] != total:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    if len(sizes) == 1 and not extra_rows:
        return [dict(outputs)]
    found, start = [], 0
    for size in sizes:
        found.append({key: array[start : start + size] for key, array in outputs.items()})
        start += size
    return found


def _padded(arrays: list[np.ndarray]) -> list[np.ndarray]:
    rank = arrays[0].ndim
    if rank > _MAX_PADDED_RANK:
        raise ServingError(Code.INVALID_ARGUMENT, "Only tensors with rank from 1 to 6 can be padded.")
    wanted = tuple(max(array.shape[i] for array in arrays) for i in range(1, rank))
    found = []
    for array in arrays:
        shape = (array.shape[0], *wanted)
        if array.shape != shape:
            if array.size:
                filled = np.full(shape, array.flat[0], array.dtype)
                filled[tuple(slice(size) for size in array.shape)] = array
                array = filled
            elif 0 in shape:
                array = array.reshape(shape)
            else:
                raise ServingError(Code.INVALID_ARGUMENT, "Got empty tensor in batch of non-empty tensors.")
        found.append(array)
    return found
