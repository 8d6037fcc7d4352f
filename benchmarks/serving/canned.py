"""The yardstick: a Python gRPC server that returns a canned answer: `python -m benchmarks.serving.canned`."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio


class Canned(grpc.GenericRpcHandler):
    """Answers every method with the same bytes.

    Args:
        answer: the serialized response.
    """

    def __init__(self, answer: bytes) -> None:
        async def respond(request: bytes, context: Any) -> bytes:
            return answer

        self._handler = grpc.unary_unary_rpc_method_handler(respond)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Returns the one handler, whatever is asked for."""
        return self._handler


async def serve(answer: bytes) -> None:
    """Serves until it is killed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Canned(answer)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"grpc": f"127.0.0.1:{port}"}), flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Serves the answer in a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("answer", type=Path)
    asyncio.run(serve(parser.parse_args().answer.read_bytes()))


if __name__ == "__main__":
    main()
