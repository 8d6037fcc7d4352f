"""The client against the embedded server, over both APIs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import CallFailed, Client, Code, Retry, Tls
from serving.client.target import Api
from tests.serving.model_server.toy_models import ToyModels, example


def write_raw_model(folder: Path) -> None:
    """Writes a model with a `serving_raw` signature as Conveyor's models have it."""
    import tensorflow as tf

    v1 = tf.compat.v1
    kinds: dict[str, Any] = {
        "fare": (tf.float32, np.nan),
        "age": (tf.int64, np.iinfo(np.int64).min),
        "kind": (tf.string, b""),
    }
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = {name: v1.placeholder(dtype, [None], name=name) for name, (dtype, _) in kinds.items()}
        outputs = {
            "scores": tf.where(tf.math.is_nan(inputs["fare"]), -1.0, inputs["fare"] * 2.0)[:, None],
            "age": tf.identity(inputs["age"]),
            "kind_bytes": tf.identity(inputs["kind"]),
        }
        signature = v1.saved_model.build_signature_def(
            {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in inputs.items()},
            {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in outputs.items()},
            v1.saved_model.signature_constants.PREDICT_METHOD_NAME,
        )
        for name, (dtype, value) in kinds.items():
            signature.defaults[name].CopyFrom(tf.make_tensor_proto([value], dtype))
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_raw": signature})
        builder.save()


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of an embedded server with the models `raw` and `toy`."""
    from serving.model_server.grpc_server import GrpcServer
    from serving.model_server.manager import Manager
    from serving.model_server.model_config import ModelConfig, ServerModels
    from serving.model_server.rest_server import RestServer

    folder = tmp_path_factory.mktemp("models")
    write_raw_model(folder / "raw" / "7")
    ToyModels(tmp_path_factory.mktemp("toy")).write(folder / "toy", 3)
    models = tuple(ModelConfig(name, str(folder / name)) for name in ("raw", "toy"))
    manager = Manager(ServerModels(models), file_system_poll_wait_seconds=0)
    manager.start()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def do(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    by_grpc, by_rest = GrpcServer(manager, address="127.0.0.1"), RestServer(manager, address="127.0.0.1")
    do(by_grpc.start())
    by_rest.start()
    yield {"gRPC": by_grpc.port or 0, "REST": by_rest.port}
    by_rest.stop(0)
    do(by_grpc.stop(0))
    manager.stop()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def client(ports: dict[str, int], api: Api) -> Iterator[Any]:
    """Makes clients of a model."""
    made = []

    def make(model: str, **options: Any) -> Client:
        made.append(Client(model, f"127.0.0.1:{ports[api]}", api=api, retry=Retry(attempts=1), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_rows(client: Any, api: Api) -> None:
    rows = [{"fare": 1.25, "age": 3, "kind": "ü"}, {}, {"kind": b"\xff", "age": -(2**62)}]
    found = client("raw", batch_rows=2).predict(rows)
    assert found.outputs["scores"].tolist() == [[2.5], [-1.0], [-1.0]]
    assert found.outputs["age"].tolist() == [3, np.iinfo(np.int64).min, -(2**62)]
    assert found.outputs["kind_bytes"].tolist() == ["ü", "", b"\xff"]
    assert set(found.versions) == ({7} if api == "gRPC" else {None})
    assert set(client("raw", version=7).predict(rows).versions) == {7}


def test_metadata_tells_defaults(client: Any) -> None:
    metadata = client("raw").metadata()
    assert (metadata.model, metadata.version) == ("raw", 7)
    assert metadata.signatures["serving_raw"].inputs["fare"].default is not None
    assert np.isnan(metadata.signatures["serving_raw"].inputs["fare"].missing)


def test_foreign_signatures(client: Any) -> None:
    toy = client("toy")
    assert toy.predict({"x": [2.0, 4.0]}).outputs["y"].tolist() == [3.0, 4.0]
    found = toy.predict([{"words": "a", "counts": 2}, {"words": "b", "counts": 3}], signature="predict_multi")
    assert found.outputs["upper"].tolist() == ["A", "B"]
    assert found.outputs["doubled"].tolist() == [4, 6]
    assert toy.predict({"x": [1.0, 2.0]}, signature="with_default").outputs["z"].tolist() == [11.0, 12.0]
    assert toy.predict([{"m": [1, 1]}], signature="matrix").outputs["n"].tolist() == [[5.0, 7.0, 9.0]]
    assert toy.predict({"x": [1.0, 2.0]}, signature="uneven").outputs["total"].tolist() == [3.0, 3.0]
    assert toy.predict_tensors({"x": [[1.0]]}, signature="any_shape").outputs["y"].tolist() == [[1.0]]
    assert [row[1] for row in toy.classify([{"x": 0.25}, {}])] == [("high", 0.25), ("high", 0.0)]
    assert toy.regress([{"x": 2.0}]) == [3.0]
    assert toy.predict_tensors({"inputs": [example(2.0)]}, signature="regress").outputs["outputs"].tolist() == [[3.0]]


def test_errors_in_the_servers_words(client: Any) -> None:
    with pytest.raises(CallFailed) as raised:
        client("toy").predict({"x": [1.0]}, signature="fails")
    assert raised.value.code == Code.INVALID_ARGUMENT
    assert "this signature fails" in raised.value.message
    with pytest.raises(CallFailed) as raised:
        client("absent").predict({"x": [1.0]})
    assert raised.value.code == Code.NOT_FOUND
    assert raised.value.message == "Servable not found for request: Latest(absent)"
    with pytest.raises(CallFailed) as raised:
        client("toy", label="canary").predict({"x": [1.0]})
    assert raised.value.message == "Unrecognized servable version label: canary"


def test_status(client: Any) -> None:
    (status,) = client("toy").status()
    assert (status.version, status.state, status.code) == (3, "AVAILABLE", Code.OK)


def test_tls_to_a_plain_server_fails(client: Any) -> None:
    with pytest.raises(CallFailed) as raised:
        client("toy", tls=Tls()).predict({"x": [1.0]})
    assert raised.value.code == Code.UNAVAILABLE
