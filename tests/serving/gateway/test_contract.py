"""The whole protocol, row by row, through the gateway: the contract's own tests with a gateway before the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.client.target import Address
from serving.gateway.server import Gateway
from serving.gateway.upstream import Upstream
from tests.contract import test_grpc_table, test_rest_table
from tests.contract.servers import InProcess, Server, model, model_config
from tests.serving.gateway.conftest import running, served
from tests.serving.line_server.conftest import ToyLine, until
from tests.serving.model_server.toy_models import ToyModels

# The gateway has a page of metrics of its own at that path.
_OWN = {"test_metrics"}

for _table in (test_grpc_table, test_rest_table):
    _rows = {name: value for name, value in vars(_table).items() if name.startswith("test_") and name not in _OWN}
    assert not _rows.keys() & {name for name in globals() if name.startswith("test_") and callable(globals()[name])}
    globals().update({name: value for name, value in _rows.items() if callable(value)})


class Through(Server):
    """A server, asked through the gateway."""

    def __init__(self, folder: Path, port: int, rest_port: int) -> None:
        super().__init__(folder)
        self._http.close()
        self.port, self.rest_port = port, rest_port
        self.rest_url = f"http://127.0.0.1:{rest_port}"
        self._http = type(self._http)(base_url=self.rest_url, timeout=60)

    def terminate(self) -> None:
        """See `Server`."""

    def ended(self) -> int | None:
        """See `Server`."""
        return 0


@pytest.fixture(scope="module")
def server(toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server as the contract's tests ask it, behind a gateway that leads requests to the live version, 6."""
    folder = tmp_path_factory.mktemp("contract")
    line = ToyLine(folder, toy_models)
    line.push(5, 6)
    more = 'model_version_policy { all { } } version_labels { key: "stable" value: 5 }'
    config = model_config(folder, model("toy", line.base, more))
    behind = InProcess(
        folder,
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models",
        "--enable_grpc_healthcheck_service",
    )
    behind.start()
    upstream = Upstream(f"127.0.0.1:{behind.port}", Address("127.0.0.1", behind.rest_port))
    gateway = Gateway(
        served(folder, line, limits={"max_message_bytes": 2**30, "max_batch_rows": 10**8}),
        upstream,
        host="127.0.0.1",
        port=0,
        rest_port=0,
    )
    with running(gateway):
        until(lambda: gateway.models.split.stable == 6)
        through = Through(folder, gateway.port, gateway.rest_port)
        yield through
        through.stop()
    assert behind.stop() == 0
