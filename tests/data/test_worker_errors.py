"""An error of a worker is raised as it was on the worker, however the runner passed it on."""

from __future__ import annotations

import inspect
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from data.worker_errors import raised_here
from schema.errors import DataRejected


def reject(number: int) -> int:
    if number < 0:
        raise DataRejected(f"numbers must not be negative. Got {number} instead", hint="mend it")
    return number


class Unpicklable(Exception):
    def __init__(self, number: int, name: str) -> None:
        super().__init__(f"{number} {name}")


def fail(number: int) -> int:
    raise Unpicklable(number, "x")


def _as_a_runner(function: Any, *numbers: int) -> None:
    """Calls a function as a worker does that was sent it, and passes on its errors as Beam does."""
    function = pickle.loads(pickle.dumps(function))
    errors = []
    for number in numbers:
        try:
            function(number)
        except Exception as error:
            errors.append(repr(error))
    if errors:
        raise RuntimeError(f"Traceback: {errors}")


def test_the_error_comes_back_with_its_type_and_hint(tmp_path: Path) -> None:
    with pytest.raises(DataRejected) as caught, raised_here(tmp_path) as noting:
        _as_a_runner(noting(reject), 1, -2, 3, -1)
    assert str(caught.value) == "numbers must not be negative. Got -1 instead\n  next: mend it"
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert os.listdir(tmp_path) == []


def test_without_an_error_nothing_is_raised_and_nothing_left(tmp_path: Path) -> None:
    with raised_here(tmp_path) as noting:
        assert noting(reject)(3) == 3
        _as_a_runner(noting(reject), 1, 2)
    assert os.listdir(tmp_path) == []


def test_an_error_that_is_not_a_worker_s_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), raised_here(tmp_path):
        raise KeyError("mine")
    assert os.listdir(tmp_path) == []


def test_an_error_that_cannot_travel_comes_as_the_runner_gives_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Traceback"), raised_here(tmp_path) as noting:
        _as_a_runner(noting(fail), 1)


def test_beam_sees_the_types_of_the_function(tmp_path: Path) -> None:
    with raised_here(tmp_path) as noting:
        assert inspect.signature(noting(reject)) == inspect.signature(reject)
