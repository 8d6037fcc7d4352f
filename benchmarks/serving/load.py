"""A process full of clients, each of which asks again once it has its answer: `python -m benchmarks.serving.load`.

It sends bodies that were made before, so that on a small machine the clients take little from the server. What it
measured is written as NumPy arrays; the process that started it does the sums.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

Ask = Callable[[], Awaitable[str]]
"""Sends a request; returns `OK`, or what went wrong."""


class Record:
    """What happened: when each request began (seconds since the epoch), how long it took, and what failed."""

    def __init__(self) -> None:
        self.began = array("d")
        self.seconds = array("d")
        self.failures: dict[str, int] = {}


async def client(ask: Ask, record: Record, begin: float, end: float, left: list[int] | None) -> None:
    """Asks until the end; what is asked before `begin` warms up and is not recorded."""
    while (began := time.time()) < end:
        counts = began >= begin
        if counts and left is not None:
            if left[0] <= 0:
                return
            left[0] -= 1
        started = time.perf_counter()
        outcome = await ask()
        if counts:
            record.seconds.append(time.perf_counter() - started)
            record.began.append(began)
            if outcome != "OK":
                record.failures[outcome] = record.failures.get(outcome, 0) + 1


async def grpc_clients(address: str, method: str, body: bytes, count: int) -> list[Ask]:
    """Returns clients that ask by gRPC, each over a connection of its own."""
    import grpc
    import grpc.aio

    def client_of(number: int) -> Ask:
        options = [("grpc.use_local_subchannel_pool", 1), ("conveyor.client", number)]
        call = grpc.aio.insecure_channel(address, options=options).unary_unary(method)

        async def ask() -> str:
            try:
                await call(body, timeout=60)
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}"
            return "OK"

        return ask

    return [client_of(number) for number in range(count)]


class HttpAnswers(asyncio.Protocol):
    """One connection that is kept alive: writes requests and finds the end of each answer."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.waiting: asyncio.Future[str] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result("connection lost")

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lines = bytes(buffer[:head]).lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(buffer) < head + 4 + length:
            return
        status = lines[0].split(b" ")[1].decode()
        body = bytes(buffer[head + 4 : head + 4 + length])
        del buffer[: head + 4 + length]
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result("OK" if status == "200" else f"{status}: {body[:200]!r}")


async def rest_clients(address: str, path: str, body: bytes, count: int) -> list[Ask]:
    """Returns clients that ask by REST, each over a connection of its own."""
    host, _, port = address.rpartition(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    loop = asyncio.get_running_loop()

    def client_of() -> Ask:
        answers = HttpAnswers()

        async def ask() -> str:
            if answers.transport is None:
                try:
                    await loop.create_connection(lambda: answers, host, int(port))
                except OSError as error:
                    return f"no connection: {error.strerror}"
            assert answers.transport is not None
            answers.waiting = loop.create_future()
            answers.transport.write(request)
            return await answers.waiting

        return ask

    return [client_of() for _ in range(count)]


async def run(args: argparse.Namespace) -> Record:
    """Runs the clients."""
    make = grpc_clients if args.api == "grpc" else rest_clients
    asks = await make(args.address, args.method, args.body.read_bytes(), args.clients)
    record = Record()
    left = [args.requests] if args.requests else None
    end = args.begin + args.seconds
    await asyncio.gather(*[client(ask, record, args.begin, end, left) for ask in asks])
    return record


def main() -> None:
    """Runs the clients and writes what they saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", choices=["grpc", "rest"], required=True)
    parser.add_argument("--address", required=True, help="HOST:PORT")
    parser.add_argument("--method", required=True, help="gRPC: the method's path; REST: the URL's")
    parser.add_argument("--body", type=Path, required=True, help="file with the request message or body")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--begin", type=float, required=True, help="when recording begins, seconds since the epoch")
    parser.add_argument("--seconds", type=float, required=True, help="for how long it records")
    parser.add_argument("--requests", type=int, default=0, help="stop after so many recorded requests")
    parser.add_argument("--output", type=Path, required=True, help="the .npz file to write")
    args = parser.parse_args()
    record = asyncio.run(run(args))
    failures = [f"{count}\t{text}" for text, count in sorted(record.failures.items())]
    np.savez(
        args.output,
        began=np.frombuffer(record.began),
        seconds=np.frombuffer(record.seconds),
        failures=np.array(failures, dtype=str),
    )


if __name__ == "__main__":
    main()
