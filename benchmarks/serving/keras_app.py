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


def main() -> None:
    """Serves a SavedModel at a free port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    api = app(parser.parse_args().folder)
    listening = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"rest": f"127.0.0.1:{listening.getsockname()[1]}"}), flush=True)
    uvicorn.Server(uvicorn.Config(api, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
