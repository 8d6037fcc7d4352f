"""Bytes that no client means to send: every method answers with an error of the request's, and goes on answering."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    regression_pb2,
)

from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.grpc_asking import METHODS, Asking, example_request, multi_request, predict_request
from tests.serving.model_server.toy_models import ToyModels, example

ROUNDS = 250
# What a request may be guilty of.
ALLOWED = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
    "OUT_OF_RANGE",
}


@pytest.fixture(scope="module")
def base_path(toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    toy_models.write(folder, 1)
    return folder


@pytest.fixture
def asking(base_path: Path, make_manager: MakeManager) -> Iterator[Asking]:
    with Asking(make_manager(base_path)) as found:
        yield found


def seeds(method: str, base_path: Path) -> list[bytes]:
    """Returns good requests to mutate."""
    x = np.float32([1.0, 2.0])
    messages: list[Any]
    examples = [example(1.0), example()]
    if method == "Predict":
        words = {"words": np.array([b"ab", b"c"], object), "counts": np.int64([1, 2])}
        messages = [
            predict_request("m", x=x),
            predict_request("m", version=1, x=x[:1]),
            predict_request("m", "predict_multi", **words),
            predict_request("m", "matrix", m=np.ones((2, 2), np.float32)),
            predict_request("m", "with_default", x=x),
        ]
    elif method == "Classify":
        messages = [example_request(classification_pb2.ClassificationRequest, "classify", examples, "m")]
    elif method == "Regress":
        messages = [example_request(regression_pb2.RegressionRequest, "regress", examples, "m")]
    elif method == "MultiInference":
        messages = [multi_request(("regress", "regress"), ("classify", "classify"), examples=examples, model="m")]
    elif method == "GetModelMetadata":
        messages = [get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])]
        messages[0].model_spec.name = "m"
    elif method == "GetModelStatus":
        messages = [get_model_status_pb2.GetModelStatusRequest()]
        messages[0].model_spec.name = "m"
    else:
        messages = [model_management_pb2.ReloadConfigRequest(metric_names=["a"])]
        messages[0].config.model_config_list.config.add(name="m", base_path=str(base_path), model_platform="tensorflow")
    return [m.SerializeToString() for m in messages]


def mutated(raw: bytes, dice: random.Random) -> bytes:
    """Returns bytes that are like a good request, more or less."""
    data = bytearray(raw)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        place = dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0 and place < len(data):
            data[place] = dice.randrange(256)
        elif kind == 1:
            data[place:place] = dice.randbytes(dice.randrange(1, 9))
        elif kind == 2:
            del data[place : place + dice.randrange(1, 9)]
        elif kind == 3:
            data[place:place] = data[dice.randrange(len(data) + 1) :][: dice.randrange(1, 40)]
        elif kind == 4 and place < len(data):
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 5:
            # The ends of the numbers' ranges, as sizes, versions and lengths.
            data[place : place + 1] = dice.choice(
                (b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x07", b"\x80\x80\x80\x80\x08")
            )
    return bytes(data)


def answer_to(asking: Asking, method: str, raw: bytes, metadata: list[tuple[str, Any]] | None = None) -> str:
    try:
        asking.channel.unary_unary(METHODS[method])(raw, timeout=60, metadata=metadata)
    except grpc.RpcError as e:
        details = e.details() or ""
        assert "Traceback" not in details and ".py" not in details, details
        assert len(details) <= 1024 + len("...TRUNCATED")
        if e.code().name == "UNKNOWN":
            # The real server's code for a reload whose models do not load.
            assert method == "HandleReloadConfigRequest" and "did not become available" in details, (raw, details)
        else:
            assert e.code().name in ALLOWED, (method, raw, e.code(), details)
        return e.code().name
    return "OK"


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_almost_a_request(asking: Asking, base_path: Path, method: str) -> None:
    dice = random.Random(method)
    good = seeds(method, base_path)
    outcomes = [answer_to(asking, method, mutated(dice.choice(good), dice)) for _ in range(ROUNDS)]
    assert len(set(outcomes)) > 1, "the requests are too much alike"
    restore = seeds("HandleReloadConfigRequest", base_path)[0]
    assert answer_to(asking, "HandleReloadConfigRequest", restore) == "OK"
    assert [answer_to(asking, method, raw) for raw in good] == ["OK"] * len(good)
    assert asking.server._access.under_way == 0


@pytest.mark.parametrize("method", METHODS)
def test_bytes_of_any_kind(asking: Asking, base_path: Path, method: str) -> None:
    dice = random.Random(f"any {method}")
    for length in [0, 1, 2, 3, 100_000, *(dice.randrange(60) for _ in range(100))]:
        answer_to(asking, method, dice.randbytes(length))
    assert answer_to(asking, "Predict", seeds("Predict", base_path)[0]) == "OK"


def test_headers_of_any_kind(asking: Asking, base_path: Path) -> None:
    good = seeds("Predict", base_path)[0]
    for metadata in (
        [("x-request-id", "x" * 5000)],
        [("x-request-id", " ")],
        [("x-caller-key", "a"), ("x-caller-key", "b")],
        [("x-request-id-bin", bytes(range(256)))],
        [("authorization", "Bearer " + "x" * 5000)],
        [("grpc-accept-encoding", "nonsense")],
        [("content-type", "text/html")],
    ):
        answer_to(asking, "Predict", good, metadata)  # type: ignore[arg-type]
    assert answer_to(asking, "Predict", good) == "OK"


def test_connections_of_any_kind(asking: Asking, base_path: Path) -> None:
    import socket

    dice = random.Random(7)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for start in (b"", b"GET / HTTP/1.1\r\n\r\n", preface, preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"):
        for length in (0, 10, 1000):
            with socket.create_connection(("127.0.0.1", asking.server.port or 0), timeout=60) as connection:
                connection.sendall(start + dice.randbytes(length))
    assert answer_to(asking, "Predict", seeds("Predict", base_path)[0]) == "OK"
