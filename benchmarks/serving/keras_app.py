"""What many write today to serve a model, a FastAPI app that calls it: `python -m benchmarks.serving.keras_app`.

It is written as well as its kind can be: the model is loaded once, its traced signature is called, and the handler is a
plain function, so that uvicorn runs requests in threads.
"""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path
from typing import Any

import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Rows(BaseModel):
    """A request: rows of raw columns."""

    instances: list[dict[str, Any]]


def app(folder: Path) -> FastAPI:
    """Returns the app for a SavedModel."""
    loaded = tf.saved_model.load(str(folder))
    predict = loaded.signatures["serving_raw"]
    dtypes = {name: spec.dtype for name, spec in predict.structured_input_signature[1].items()}
    api = FastAPI()

    @api.post("/predict")
    def answer(rows: Rows) -> dict[str, Any]:
        columns = {name: tf.constant([row[name] for row in rows.instances], dtype) for name, dtype in dtypes.items()}
        scores = predict(**columns)["probabilities"].numpy()
        return {"predictions": scores.tolist()}

    return api


class Announced(uvicorn.Server):
    """Prints its address once it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(json.dumps({"rest": f"127.0.0.1:{port}"}), flush=True)


def main() -> None:
    """Serves a SavedModel at a free port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    api = app(parser.parse_args().folder)
    # uvicorn opens the port itself: on a socket that it is handed, asyncio leaves Nagle's algorithm on, and each answer
    # waits 40 ms for an acknowledgement.
    Announced(uvicorn.Config(api, host="127.0.0.1", port=0, log_level="warning")).run()


if __name__ == "__main__":
    main()
