"""The executable as a process: killed, drained, on a full disk, with folders that are no models."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis.predict_pb2 import PredictResponse

from tests.contract.servers import Executable, Server, wait_for
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.grpc_asking import METHODS, predict_request
from tests.serving.model_server.toy_models import ToyModels

pytestmark = pytest.mark.slow

Start = Callable[..., Executable]
ROW = b'{"instances": [0]}'
# About two seconds.
LOOPS = 200_000


@pytest.fixture
def start(toy_models: ToyModels, tmp_path: Path) -> Iterator[Start]:
    """Starts servers of the model `m`, of which version 1 (offset 1) is there; `start(base_path=…)`."""
    servers: list[Executable] = []

    def make(*flags: str, base_path: Path = tmp_path / "m") -> Executable:
        if not (base_path / "1").exists():
            toy_models.write(base_path, 1, offset=1.0)
        server = Executable(
            tmp_path, f"--model_base_path={base_path}", "--model_name=m", "--max_num_load_retries=0", *flags
        )
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        if server.ended() is None:
            server.kill()


def offset(server: Server, http: httpx.Client | None = None) -> float:
    response = (http or httpx).post(f"{server.rest_url}/v1/models/m:predict", content=ROW, timeout=60)
    assert response.status_code == 200, response.text
    return float(response.json()["predictions"][0])


def slow_requests(server: Server, executor: ThreadPoolExecutor) -> tuple[Any, Any]:
    """Starts a slow request by each API, and returns their futures once the server is at work on them."""
    raw = predict_request("m", "slow", loops=np.int64(LOOPS)).SerializeToString()
    by_grpc = server.channel().unary_unary(METHODS["Predict"]).future(raw, timeout=60)
    body = {"signature_name": "slow", "inputs": {"loops": LOOPS}}
    url = f"{server.rest_url}/v1/models/m:predict"
    by_rest = executor.submit(lambda: httpx.post(url, json=body, timeout=60))
    time.sleep(0.5)
    return by_grpc, by_rest


def error_of(server: Server, version: int) -> tuple[int, str]:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    request.model_spec.version.value = version
    status = server.ask("GetModelStatus", request).model_version_status[0].status
    return status.error_code, status.error_message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(start: Start, number: int) -> None:
    server = start("--enable_grpc_healthcheck_service")
    watch = server.channel().unary_stream("/grpc.health.v1.Health/Watch")(
        health_pb2.HealthCheckRequest().SerializeToString(), timeout=60
    )
    states = [health_pb2.HealthCheckResponse.FromString(next(watch)).status]
    with ThreadPoolExecutor(1) as executor:
        by_grpc, by_rest = slow_requests(server, executor)
        assert not by_grpc.done() and not by_rest.done()
        assert server.process is not None
        server.process.send_signal(number)
        states += [health_pb2.HealthCheckResponse.FromString(one).status for one in watch]
        eventually(server.is_closed)
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{server.rest_url}/v1/models/m:predict", content=ROW)
        with pytest.raises(grpc.RpcError) as caught:
            server.ask("Predict", predict_request("m", x=np.float32([0.0])), server.channel())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        # What was under way is answered.
        assert PredictResponse.FromString(by_grpc.result()).outputs["n"].int64_val[0] == LOOPS
        assert by_rest.result().json() == {"outputs": LOOPS}
    assert states == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
    assert server.wait() == 0
    assert "Traceback" not in server.log()


def test_a_second_signal_ends_at_once(start: Start) -> None:
    server = start()
    raw = predict_request("m", "slow", loops=np.int64(50 * LOOPS)).SerializeToString()
    under_way = server.channel().unary_unary(METHODS["Predict"]).future(raw, timeout=120)
    time.sleep(0.5)
    server.terminate()
    eventually(lambda: not server.is_open())
    assert server.ended() is None
    server.terminate()
    assert server.process is not None and server.process.wait(10) == 128 + signal.SIGTERM
    assert under_way.code() is grpc.StatusCode.UNAVAILABLE


def test_after_kill_9_it_starts_again_on_the_same_ports(start: Start, toy_models: ToyModels, tmp_path: Path) -> None:
    server = start()
    stop = threading.Event()
    seen: list[str] = []

    def ask() -> None:
        channel, request = server.channel(), predict_request("m", x=np.float32([0.0]))
        while not stop.is_set():
            try:
                seen.append(f"{server.ask('Predict', request, channel).outputs['y'].float_val[0]:g}")
            except grpc.RpcError as error:
                seen.append(error.code().name)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        eventually(lambda: "1" in seen)
        server.kill()
        # What another has written meanwhile, and what it has left half done.
        toy_models.write(tmp_path / "m", 2, offset=2.0)
        (tmp_path / "m" / ".tmp-3").mkdir()
        eventually(lambda: "UNAVAILABLE" in seen)
        server.start()
        eventually(lambda: "2" in seen)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert set(seen) == {"1", "UNAVAILABLE", "2"}
    assert server.versions("m") == {2: "AVAILABLE"}


def test_no_broken_folder_stops_the_version_that_serves(start: Start, toy_models: ToyModels, tmp_path: Path) -> None:
    server = start()
    breakages = ("empty", "corrupt", "only variables", "no variables", "other tags", "a file")
    for version, breakage in enumerate(breakages, start=2):
        toy_models.write_broken(tmp_path / "m", version, breakage)
        wait_for(server, "m", {version: "END", **dict.fromkeys(range(version - 1, 1, -1), "END"), 1: "AVAILABLE"})
        code, message = error_of(server, version)
        assert code and message, breakage
        assert offset(server) == 1.0
    good = len(breakages) + 2
    toy_models.write(tmp_path / "m", good, offset=9.0)
    eventually(lambda: server.versions("m").get(good) == "AVAILABLE")
    assert offset(server) == 9.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(start: Start, toy_models: ToyModels, tmp_path: Path, small_disk: Path) -> None:
    base_path = small_disk / "m"
    server = start(base_path=base_path)
    whole = toy_models.write(tmp_path / "elsewhere", 2, offset=2.0)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size // 4096 * 4096 - 4096)
    # A careless copy stops half way, under the version's own name.
    with pytest.raises(shutil.Error):
        shutil.copytree(whole, base_path / "2")
    wait_for(server, "m", {2: "END", 1: "AVAILABLE"})
    assert error_of(server, 2)[0]
    assert offset(server) == 1.0
    filler.unlink()
    shutil.copytree(whole, base_path / ".tmp-3")
    (base_path / ".tmp-3").rename(base_path / "3")
    eventually(lambda: server.versions("m").get(3) == "AVAILABLE")
    assert offset(server) == 2.0


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(start: Start, toy_models: ToyModels, tmp_path: Path) -> None:
    server = start()
    server.stop()
    server = Executable(tmp_path, *server.flags[3:])
    full = Path("/dev/full")
    server._log = full
    server.start()
    try:
        toy_models.write(tmp_path / "m", 2, offset=2.0)
        wait_for(server, "m", {2: "AVAILABLE", 1: "END"})
        assert offset(server) == 2.0
        assert server.http("POST", "/v1/models/m:predict", "no JSON").status_code == 400
    finally:
        assert server.stop() == 0


def test_twenty_swaps_under_load_fail_no_request(start: Start, toy_models: ToyModels, tmp_path: Path) -> None:
    server = start()
    stop = threading.Event()
    failures: list[str] = []
    answered = [0] * 4

    def ask(place: int) -> None:
        channel, request = server.channel(), predict_request("m", x=np.float32([0.0]))
        with httpx.Client() as http:
            while not stop.is_set():
                try:
                    if place:
                        answer = server.ask("Predict", request, channel)
                        assert answer.outputs["y"].float_val[0] == answer.model_spec.version.value
                    else:
                        offset(server, http)
                    answered[place] += 1
                except Exception as error:
                    failures.append(repr(error))

    clients = [threading.Thread(target=ask, args=(place,)) for place in range(len(answered))]
    for client in clients:
        client.start()
    try:
        for version in range(2, 22):
            toy_models.write(tmp_path / "m", version, offset=float(version))
            eventually(lambda expected=version: server.versions("m").get(expected) == "AVAILABLE")
            if version % 5 == 0:
                shutil.rmtree(tmp_path / "m" / str(version - 1))
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failures
    assert all(count > 20 for count in answered)
