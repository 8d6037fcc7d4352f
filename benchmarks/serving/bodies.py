"""The requests that are sent: real trips, as each of the servers takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

METHODS = {"grpc": "/tensorflow.serving.PredictionService/Predict", "rest": "/v1/models/taxi:predict"}
APP_METHOD = "/predict"
SIGNATURE = "serving_raw"


def trips(count: int) -> pd.DataFrame:
    """Returns the first trips of TFX's table, as a client has them: without the tips."""
    import pandas as pd
    import tfx

    table = Path(tfx.__path__[0]) / "examples" / "chicago_taxi_pipeline" / "data" / "simple" / "data.csv"
    return pd.read_csv(table, nrows=count).drop(columns="tips")


def write(folder: Path, address: str, batch: int) -> dict[str, Path]:
    """Writes the bodies for a batch, encoded by the client as the served model's metadata says.

    Args:
        folder: where they are written.
        address: a server's gRPC address.
        batch: rows in each request.

    Returns:
        `grpc`, `rest` and `app` to the file with the body.
    """
    from serving import messages
    from serving.client import Client
    from serving.client.encoding import Encoder
    from serving.model_server.tensor_codec import fill_tensor

    with Client("taxi", address) as client:
        metadata = client.metadata()
    encoded = Encoder(metadata, metadata.signature(SIGNATURE)).encode(trips(batch)).checked()
    request = messages.PREDICT.request()
    request.model_spec.name, request.model_spec.signature_name = "taxi", SIGNATURE
    for name, array in encoded.tensors.items():
        fill_tensor(request.inputs[name], array)
    rows = [{name: _plain(array[i]) for name, array in encoded.tensors.items()} for i in range(batch)]
    bodies = {
        "grpc": request.SerializeToString(deterministic=True),
        "rest": json.dumps({"signature_name": SIGNATURE, "instances": rows}).encode(),
        "app": json.dumps({"instances": rows}).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in bodies.items():
        (folder / f"{name}-{batch}").write_bytes(body)
    return {name: folder / f"{name}-{batch}" for name in bodies}


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.item()
