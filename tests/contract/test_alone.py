"""Without `--enable_batching` each request is computed by itself, whatever comes at the same time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorflow_serving.apis.predict_pb2 import PredictResponse

from tests.contract.conftest import Launch
from tests.serving.model_server.grpc_asking import METHODS, SECONDS, predict_request

REQUESTS = 64


def test_the_rows_of_one_request_know_nothing_of_anothers(launch: Launch, tmp_path: Path) -> None:
    write_model_that_compares_rows(tmp_path / "m" / "1")
    server = launch(f"--model_base_path={tmp_path / 'm'}", "--model_name=m")
    call = server.channel().unary_unary(METHODS["Predict"])
    requests = [predict_request("m", x=np.float32([n, n + 2])).SerializeToString() for n in range(REQUESTS)]
    for _ in range(10):
        # One by one first: what is quick is dealt with otherwise.
        assert list(PredictResponse.FromString(call(requests[0], timeout=SECONDS)).outputs["y"].float_val) == [-1, 1]
    for _ in range(5):
        answers = [future.result() for future in [call.future(request, timeout=SECONDS) for request in requests]]
        found = [list(PredictResponse.FromString(answer).outputs["y"].float_val) for answer in answers]
        assert found == [[-1.0, 1.0]] * REQUESTS


def write_model_that_compares_rows(path: Path) -> None:
    """Writes a model that says by how much each row differs from the mean of all."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x - tf.reduce_mean(x)})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": signature})
        builder.save()
