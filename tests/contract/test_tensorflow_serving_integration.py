"""TensorFlow Serving's own integration tests, unmodified, against our executable.

They start whatever executable lies where Bazel would put `tensorflow_model_server`. Each of theirs is a case here, in a
process of its own. They are not part of this tree: TENSORFLOW_SERVING_SOURCE names a checkout of
github.com/tensorflow/serving.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLE = "TENSORFLOW_SERVING_SOURCE"
SOURCE = os.environ.get(VARIABLE, "")
TESTS = "tensorflow_serving/model_servers/tensorflow_model_server_test.py"
CLASS = "TensorflowModelServerTest"
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300

LEFT_OUT = {
    "testPredictOnTfLite": "TensorFlow Lite models are not served",
    "testPredictWithSignatureDefOnTfLite": "TensorFlow Lite models are not served",
    "test_tf_text": "it needs the operations of TensorFlow Text",
    "test_profiler_service_with_valid_trace_request": "there is no profiler service",
}

# Run by `python -c`: Bazel would make one package of theirs and the installed one.
_RUNNER = """
import runpy, sys
import tensorflow_serving
source, sys.argv = sys.argv[1], sys.argv[1:]
tensorflow_serving.__path__.append(source + "/tensorflow_serving")
runpy.run_path(source + "/" + %r, run_name="__main__")
"""


def _their_tests() -> list[str]:
    """Returns the names of their tests in the order of their file, without running any of it."""
    tree = ast.parse((Path(SOURCE) / TESTS).read_text(encoding="utf-8"))
    (tests,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == CLASS)
    return [node.name for node in tests.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test")]


def _cases() -> list[object]:
    if not SOURCE:
        return [pytest.param("", marks=pytest.mark.skip(f"{VARIABLE} names no checkout of tensorflow/serving"))]
    return [
        pytest.param(name, marks=pytest.mark.skip(LEFT_OUT[name])) if name in LEFT_OUT else name
        for name in _their_tests()
    ]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What their tests call TEST_SRCDIR: their test data, and our executable under their name."""
    folder = tmp_path_factory.mktemp("srcdir")
    package = folder / "tf_serving" / "tensorflow_serving"
    (package / "model_servers").mkdir(parents=True)
    (package / "servables").symlink_to(Path(SOURCE).absolute() / "tensorflow_serving" / "servables")
    program = package / "model_servers" / "tensorflow_model_server"
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m serving.model_server.main "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", _cases())
def test_theirs(name: str, layout: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TEST_SRCDIR": str(layout), "TEST_TMPDIR": str(tmp_path)}
    if importlib.util.find_spec("tf_keras") is not None:
        # They are written for Keras 2; what Keras 3 saves TensorFlow Serving itself does not load.
        environment["TF_USE_LEGACY_KERAS"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER % TESTS, str(Path(SOURCE).absolute()), f"{CLASS}.{name}"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout
    assert "Ran 1 test" in done.stdout and "skipped" not in done.stdout, done.stdout


@pytest.mark.skipif(not SOURCE, reason=f"{VARIABLE} names no checkout of tensorflow/serving")
def test_what_is_left_out_is_there() -> None:
    assert set(LEFT_OUT) <= set(_their_tests())
