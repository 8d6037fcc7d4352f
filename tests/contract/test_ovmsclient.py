"""OpenVINO's client, which knows nothing of this project, talks to the server by both APIs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract import ovms_calls
from tests.contract.servers import Server

X = {"x:float32": [1.0, 2.0]}


@pytest.fixture(scope="module")
def answers(server: Server) -> dict[str, Any]:
    """What all calls of the module return, by `transport what`."""
    calls = {}
    for transport in ("grpc", "http"):
        for what, call in {
            "predict": ["predict", X, "toy", 5],
            "version 0": ["predict", X, "toy", 0],
            "unknown version": ["predict", X, "toy", 9],
            "unknown model": ["predict", X, "m", 1],
            "wrong input": ["predict", {"z:float32": [1.0]}, "toy", 5],
            "wrong type": ["predict", {"x:int64": [1]}, "toy", 5],
            "status": ["get_model_status", None, "toy", 5],
            "status of an unknown model": ["get_model_status", None, "m", 1],
            "metadata": ["get_model_metadata", None, "toy", 6],
        }.items():
            calls[f"{transport} {what}"] = [transport, *call]
    asked = {
        "grpc": f"127.0.0.1:{server.port}",
        "http": f"127.0.0.1:{server.rest_port}",
        "calls": list(calls.values()),
    }
    script = Path(ovms_calls.__file__)
    done = subprocess.run([sys.executable, str(script)], input=json.dumps(asked), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(calls, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_predict(answers: dict[str, Any], transport: str) -> None:
    assert answers[f"{transport} predict"] == [5.5, 6.0]


def test_version_0_is_a_version_by_either_api(answers: dict[str, Any]) -> None:
    # It means the latest to its own server.
    for transport in ("grpc", "http"):
        name, message = answers[f"{transport} version 0"]
        assert name == "ModelNotFoundError" and message.endswith("request: Specific(toy, 0)")


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("unknown version", "ModelNotFoundError", "Servable not found for request: Specific(toy, 9)"),
        ("unknown model", "ModelNotFoundError", "Servable not found for request: Specific(m, 1)"),
        ("status of an unknown model", "ModelNotFoundError", "Could not find version 1 of model m"),
    ],
)
def test_what_is_not_there(answers: dict[str, Any], transport: str, what: str, error: str, words: str) -> None:
    assert answers[f"{transport} {what}"] == [error, f"Error occurred during handling the request: {words}"]


def test_a_wrong_input(answers: dict[str, Any]) -> None:
    name, message = answers["grpc wrong input"]
    assert name == "InvalidInputError" and "Signature input alias: x(feed name: x:0) not found in request" in message
    name, message = answers["http wrong input"]
    assert name == "InvalidInputError" and message.endswith("Missing named input: x in 'inputs' object.")
    name, message = answers["grpc wrong type"]
    assert name == "InvalidInputError" and message.endswith("Expects arg[0] to be float but int64 is provided")
    # JSON has no types of numbers.
    assert answers["http wrong type"] == [5.5]


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_status(answers: dict[str, Any], transport: str) -> None:
    assert answers[f"{transport} status"] == {"5": {"state": "AVAILABLE", "error_code": 0, "error_message": ""}}


def test_metadata(answers: dict[str, Any]) -> None:
    tensor = {"shape": [-1], "dtype": "DT_FLOAT"}
    expected = {"model_version": 6, "inputs": {"x": tensor}, "outputs": {"y": tensor}}
    assert answers["grpc metadata"] == expected
    # It reads the JSON of OpenVINO's own server only, and returns any other as it is.
    assert answers["http metadata"]["model_spec"] == {"name": "toy", "signature_name": "", "version": "6"}
