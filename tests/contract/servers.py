"""The model server under test, in this process or as the executable, with the same flags and asked in the same way."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

import grpc
import httpx

from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.grpc_asking import ANSWERS, METHODS, SECONDS

START_SECONDS = 180.0
"""How long it may take until the ports are open. It is only waited for when that fails."""

ROOT = Path(__file__).resolve().parents[2]
Kind = Literal["in process", "executable"]
Outcome = tuple[str, str]


class Server:
    """A model server and the ways to ask it.

    Args:
        folder: a folder of its own.
        flags: TensorFlow Serving's flags, without the ports.

    Attributes:
        port: gRPC's port.
        rest_port: REST's port.
        poll_seconds: between its looks for versions.
    """

    poll_seconds = 1.0

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port, self.rest_port = _free_ports(2)
        self.flags = [f"--port={self.port}", f"--rest_api_port={self.rest_port}", "--host=127.0.0.1", *flags]
        self.folder = folder
        self.rest_url = f"http://127.0.0.1:{self.rest_port}"
        self._channels: list[grpc.Channel] = []
        self._http = httpx.Client(base_url=self.rest_url, timeout=SECONDS)

    def launch(self) -> None:
        """Starts it, without waiting for anything."""
        raise NotImplementedError

    def terminate(self) -> None:
        """Tells it to finish what is under way and end."""
        raise NotImplementedError

    def ended(self) -> int | None:
        """Returns its exit code once it has ended."""
        raise NotImplementedError

    def log(self) -> str:
        """Returns what it has said."""
        raise NotImplementedError

    def start(self) -> Server:
        """Starts it and waits until its ports are open."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self.is_open() and self.ended() is None:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        assert self.ended() is None, self.log()
        return self

    def stop(self) -> int:
        """Ends it, and returns its exit code."""
        for channel in self._channels:
            channel.close()
        self._http.close()
        self.terminate()
        return self.wait()

    def wait(self) -> int:
        """Waits until it has ended, and returns its exit code."""
        eventually(lambda: self.ended() is not None, "the server has ended")
        code = self.ended()
        assert code is not None
        return code

    def is_open(self) -> bool:
        """Returns whether both ports take connections."""
        return all(_connects(port) for port in (self.port, self.rest_port))

    def is_closed(self) -> bool:
        """Returns whether neither port takes connections."""
        return not any(_connects(port) for port in (self.port, self.rest_port))

    # Asking by gRPC.

    def channel(self, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
        """Returns a connection of its own, closed when the server is stopped."""
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_retries", 0),
        ]
        target = f"127.0.0.1:{self.port}"
        if credentials is None:
            channel = grpc.insecure_channel(target, options)
        else:
            channel = grpc.secure_channel(target, credentials, options)
        self._channels.append(channel)
        return channel

    def ask(self, method: str, request: Any, channel: grpc.Channel | None = None, timeout: float = SECONDS) -> Any:
        """Calls a method by its short name, with a message or with bytes, and returns the message that answers."""
        channel = channel or (self._channels[0] if self._channels else self.channel())
        path = METHODS.get(method, method)
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        answer = channel.unary_unary(path)(raw, timeout=timeout)
        return ANSWERS[path].FromString(answer) if path in ANSWERS else answer

    def outcome(self, method: str, request: Any) -> Outcome:
        """Returns the code's name and the message of a call that must fail."""
        try:
            answer = self.ask(method, request)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        raise AssertionError(f"{method} answered: {answer}")

    # Asking by REST.

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Makes a request; a body that is no text or bytes is sent as JSON. In headers' names `_` stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"content": body} if isinstance(body, (str, bytes)) else {"json": body} if body is not None else {}
        return self._http.request(method, path, headers=named, **given)  # type: ignore[arg-type]

    def predict(self, body: Any, model: str = "toy") -> httpx.Response:
        """Makes a predict request."""
        return self.http("POST", f"/v1/models/{model}:predict", body)

    def versions(self, model: str) -> dict[int, str]:
        """Returns version to state, newest first; empty while nothing is known or nobody answers."""
        try:
            response = self.http("GET", f"/v1/models/{model}")
        except httpx.TransportError:
            return {}
        found = response.json().get("model_version_status", [])
        return {int(one["version"]): one["state"] for one in found}


class InProcess(Server):
    """The server in a thread of this process. It looks for versions more often, so that its tests are quick."""

    poll_seconds = 0.05

    def __init__(self, folder: Path, *flags: str) -> None:
        super().__init__(folder, *flags)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: Exception | None = None

    def launch(self) -> None:
        """See `Server`."""
        self._thread.start()

    def terminate(self) -> None:
        """See `Server`."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def ended(self) -> int | None:
        """See `Server`."""
        return None if self._thread.is_alive() else int(self._error is not None)

    def log(self) -> str:
        """See `Server`."""
        return str(self._error)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:
            self._error = error
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        from serving.model_server.flags import parse
        from serving.model_server.server import ModelServer

        server = ModelServer(parse(self.flags))
        server._manager._poll_seconds = self.poll_seconds
        loading = asyncio.create_task(asyncio.to_thread(server._load))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
            if not self._stopping.is_set():
                await server._start()
                await stopping
        finally:
            stopping.cancel()
            await server._stop(10)
            await asyncio.gather(loading, return_exceptions=True)


class Executable(Server):
    """The server as a process."""

    def __init__(self, folder: Path, *flags: str) -> None:
        super().__init__(folder, *flags)
        self._log = folder / f"log-{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """See `Server`."""
        command = [sys.executable, "-m", "serving.model_server.main", *self.flags]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def terminate(self) -> None:
        """See `Server`."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """Ends the process at once, as kill -9 does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ended(self) -> int | None:
        """See `Server`."""
        return None if self.process is None else self.process.poll()

    def log(self) -> str:
        """See `Server`."""
        return self._log.read_text(errors="replace")


KINDS: dict[Kind, type[Server]] = {"in process": InProcess, "executable": Executable}


def model_config(folder: Path, *models: str) -> Path:
    """Writes a model config file, and returns its path.

    Args:
        folder: where.
        models: of each model, what is in its `config { }`.
    """
    text = "".join(f"  config {{ {model} }}\n" for model in models)
    file = folder / "models.config"
    whole = folder / ".models.config"
    whole.write_text(f"model_config_list {{\n{text}}}\n")
    whole.rename(file)
    return file


def model(name: str, base_path: Path, more: str = "") -> str:
    """Returns what describes a model in a model config file."""
    return f'name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more}'


def wait_for(server: Server, name: str, expected: dict[int, str]) -> None:
    """Waits until a model's versions are in certain states."""
    eventually(lambda: server.versions(name) == expected, f"{name} is {expected}")


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on, nor will soon: connections get theirs from above them."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
