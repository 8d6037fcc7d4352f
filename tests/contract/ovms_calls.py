"""Runs calls of `ovmsclient` in a process of its own: its messages have the names of TensorFlow's.

Takes {"grpc": address, "http": address, "calls": [[transport, method, inputs or null, model, version], …]} on its
standard input. Prints, as JSON, what each returns, or the exception's name and text.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import ovmsclient


def plain(value: Any) -> Any:
    """Returns a result as JSON takes it."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    """Makes the calls."""
    asked = json.load(sys.stdin)
    clients = {
        "grpc": ovmsclient.make_grpc_client(asked["grpc"]),
        "http": ovmsclient.make_http_client(asked["http"]),
    }
    answers = []
    for transport, method, inputs, model, version in asked["calls"]:
        if inputs is not None:
            # A name says the dtype of its values.
            inputs = {name.split(":")[0]: np.array(value, name.split(":")[1]) for name, value in inputs.items()}
        arguments = {"model_name": model, "model_version": version, **({"inputs": inputs} if inputs else {})}
        try:
            answers.append(plain(getattr(clients[transport], method)(**arguments)))
        except Exception as error:
            answers.append([type(error).__name__, str(error)])
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
