"""The gateway's process has no TensorFlow in it: it starts in a moment and stays small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.serving.gateway.conftest import Behind, until
from tests.serving.line_server.conftest import ToyLine

SCRIPT = """
import asyncio, sys, time
from pathlib import Path
import httpx
from conveyor.verbs import gateway
from schema.serving import ServingConfig
from serving.client import Client
from serving.client.target import Address
from serving.gateway.server import Gateway
from serving.gateway.upstream import Upstream
from serving.line_server.served_line import ServedLine

folder, grpc, rest = Path(sys.argv[1]), sys.argv[2], Address.parse(sys.argv[3], "REST")
base, ledger, config = folder / "serving_model" / "toy", folder / "releases.jsonl", ServingConfig()
line = ServedLine("toy", base, ledger, folder / "capture", config, folder)
options = {"host": "127.0.0.1", "port": 0, "rest_port": 0, "model_config": folder / "models.config", "verify": False}
gateway = Gateway(line, Upstream(grpc, rest), **options)

async def main():
    await asyncio.to_thread(gateway.load)
    await gateway.start()
    assert gateway.models.ready

    def ask():
        body = {"instances": [0.0]}
        answer = httpx.post(f"http://127.0.0.1:{gateway.rest_port}/v1/models/toy:predict", json=body, timeout=60)
        assert answer.json() == {"predictions": [2.0]}, answer.text
        with Client("toy", f"127.0.0.1:{gateway.port}") as client:
            assert client.predict([{"x": 0.0}]).versions == (2,), client.predict([{"x": 0.0}]).versions
        time.sleep(0.5)  # for the shadow, which compares

    await asyncio.to_thread(ask)
    await gateway.stop(1)

asyncio.run(main())
heavy = ("tensorflow", "tensorflow_serving", "tfx", "apache_beam", "keras", "pandas", "pyarrow")
print([name for name in heavy if name in sys.modules])
"""


def test_no_tensorflow(toy_line: ToyLine, behind: Behind, tmp_path: Path) -> None:
    toy_line.push(1, 2)
    toy_line.shadow(1)
    until(lambda: behind.manager.ready)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), behind.upstream.grpc, str(behind.upstream.rest)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
