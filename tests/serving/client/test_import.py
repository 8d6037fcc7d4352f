"""The client is quick to import: it brings nothing heavy along."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "tensorflow",
    "tensorflow_serving",
    "tfx",
    "apache_beam",
    "keras",
    "pandas",
    "pyarrow",
    "pydantic",
    "grpc",
    "httpx",
)


def test_nothing_heavy_is_imported() -> None:
    code = f"import sys; import serving.client; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nor_when_it_asks() -> None:
    """Asking a server that is not there goes through both transports, a schema and the encoding of columns."""
    code = """
import sys
from pathlib import Path
from serving.client import CallFailed, Client, Retry
for api in ("gRPC", "REST"):
    client = Client("m", "127.0.0.1:9", api=api, schema="schema/taxi/schema.pbtxt", retry=Retry(attempts=1))
    try:
        client.predict({"fare": 1.0})
    except CallFailed:
        pass
import serving.client.table_predictions, serving.client.outputs
print([name for name in ("tensorflow", "tensorflow_serving", "apache_beam", "tfx", "keras") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
