"""The client of served models. It talks to TensorFlow Serving and to the embedded server, and needs no TensorFlow.

from serving.client import Client

with Client("taxi", "127.0.0.1:8500", schema="schema/taxi/schema.pbtxt") as client:
    predictions = client.predict([{"fare": 12.5, "payment_type": "Cash"}])
    predictions.outputs["scores"], predictions.versions
"""

from serving.client.caller import Again
from serving.client.calls import Tensors, VersionStatus
from serving.client.client import AsyncClient, Client
from serving.client.errors import BadRows, CallFailed, Problem
from serving.client.results import Predictions
from serving.client.retry import Retry
from serving.client.rows import Rows
from serving.client.signatures import Metadata, SignatureSpec, TensorSpec
from serving.client.target import Tls, read_token
from serving.model_server.errors import Code

__all__ = [
    "Again",
    "AsyncClient",
    "BadRows",
    "CallFailed",
    "Client",
    "Code",
    "Metadata",
    "Predictions",
    "Problem",
    "Retry",
    "Rows",
    "SignatureSpec",
    "TensorSpec",
    "Tensors",
    "Tls",
    "VersionStatus",
    "read_token",
]
