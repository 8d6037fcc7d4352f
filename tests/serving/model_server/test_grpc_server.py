"""The gRPC server's ports, options, start and end."""

from __future__ import annotations

import asyncio
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from schema.errors import UsageError
from serving.model_server.grpc_server import GrpcServer
from serving.model_server.manager import Manager
from tests.serving.model_server.grpc_asking import Asking, predict_request

X = np.float32([1.0, 2.0])


def answers(asking: Asking) -> bool:
    return list(asking("Predict", predict_request(x=X)).outputs["y"].float_val) == [2.5, 3.0]


def test_a_free_port_is_found_and_told(toy_manager: Manager) -> None:
    with Asking(toy_manager) as one, Asking(toy_manager) as another:
        assert one.server.port and another.server.port and one.server.port != another.server.port
        assert answers(one) and answers(another)


def test_a_port_that_is_taken_is_an_error(toy_manager: Manager) -> None:
    with Asking(toy_manager) as one:
        with pytest.raises(UsageError) as caught, Asking(toy_manager, port=one.server.port):
            pass
        assert f"127.0.0.1:{one.server.port} must be an address to listen on" in str(caught.value)
        assert "--port" in caught.value.hint
        assert answers(one)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UsageError):
        Asking(toy_manager, port=other.getsockname()[1]).__enter__()


def test_a_port_is_free_again_after_the_end(toy_manager: Manager) -> None:
    with Asking(toy_manager) as one:
        port = one.server.port
    with Asking(toy_manager, port=port) as another:
        assert another.server.port == port
        assert answers(another)


def test_a_unix_socket_alone(toy_manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Asking(toy_manager, port=None, socket_path=str(path), target=f"unix:{path}") as asking:
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert asking.server.port is None
        assert answers(asking)


def test_a_unix_socket_beside_a_port_and_one_that_was_left_behind(toy_manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with Asking(toy_manager, socket_path=str(path)) as asking:
        assert answers(asking)
        asking.target = f"unix:{path}"
        asking.channel = asking.connect()
        assert answers(asking)


def test_a_path_that_cannot_be_a_socket_is_an_error(toy_manager: Manager, tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "socket", tmp_path / ("x" * 200)):
        with pytest.raises(UsageError, match="must be an address to listen on") as caught:
            Asking(toy_manager, port=None, socket_path=str(path)).__enter__()
        assert "--grpc_socket_path" in caught.value.hint


def test_nothing_to_listen_on_is_an_error(toy_manager: Manager) -> None:
    with pytest.raises(UsageError, match="port or a socket path"):
        GrpcServer(toy_manager, port=None)


@pytest.mark.parametrize("arguments", ["a", "=1", "grpc.a=1,b"])
def test_channel_arguments_that_cannot_be_read_are_an_error(toy_manager: Manager, arguments: str) -> None:
    with pytest.raises(UsageError, match="channel arguments must be name=value,name=value"):
        GrpcServer(toy_manager, channel_arguments=arguments)


def test_channel_arguments_reach_grpc(toy_manager: Manager) -> None:
    arguments = "grpc.max_receive_message_length=1000,grpc.some_text=a=b,"
    with Asking(toy_manager, channel_arguments=arguments) as asking:
        assert answers(asking)
        assert asking.error("Predict", predict_request(x=np.zeros(1000, np.float32)))[0] == "RESOURCE_EXHAUSTED"


def test_many_megabytes_either_way(toy_manager: Manager) -> None:
    # More than the 4 MB that gRPC takes by itself.
    values = np.arange(3_000_000, dtype=np.float32)
    with Asking(toy_manager) as asking:
        answer = asking("Predict", predict_request(x=values)).outputs["y"]
    assert len(answer.float_val) == len(values)
    assert answer.float_val[-1] == values[-1] / 2 + 2


def test_the_end_cuts_off_what_takes_longer_than_its_grace(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking, ThreadPoolExecutor(1) as executor:
        request = predict_request("toy", "slow", loops=np.int64(200_000))
        slow = executor.submit(asking.error, "Predict", request)
        while not asking.server._access.under_way:
            pass
        asking.thread.stop(0.05)
        assert slow.result()[0] in ("UNAVAILABLE", "CANCELLED")


def test_ending_twice_and_ending_what_never_started(toy_manager: Manager) -> None:
    with Asking(toy_manager) as asking:
        asking.thread.stop(1)
        asking.thread.stop(1)
    asyncio.run(GrpcServer(toy_manager).stop())


def test_within_the_callers_loop(toy_manager: Manager) -> None:
    async def run() -> bytes:
        server = GrpcServer(toy_manager, address="127.0.0.1")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
                return await call(predict_request(x=X).SerializeToString())
        finally:
            await server.stop(1)

    assert b"serving_default" in asyncio.run(run())
