"""What the contract tests share: each runs against the server in this process and, marked slow, the executable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers import KINDS, Kind, Server, model, model_config
from tests.serving.model_server.toy_models import ToyModels

Launch = Callable[..., Server]
_BOTH = ["in process", pytest.param("executable", marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    """Writes toy models; see `tests/serving/model_server/toy_models.py`."""
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


@pytest.fixture(scope="module", params=[*_BOTH, "in process, batching"])
def server(request: Any, toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the flags of production, for asking only.

    `toy` has versions 5 (label stable, offset 5) and 6 (offset 6). That requests are batched may not be noticed.
    """
    folder = tmp_path_factory.mktemp("contract")
    for version in (5, 6):
        toy_models.write(folder / "toy", version, offset=float(version))
    more = 'model_version_policy { all { } } version_labels { key: "stable" value: 5 }'
    config = model_config(folder, model("toy", folder / "toy", more))
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    kind, _, batching = request.param.partition(", ")
    batching_parameters = folder / "batching.config"
    batching_parameters.write_text("max_batch_size { value: 10000000 } batch_timeout_micros { value: 100 }")
    server = KINDS[kind](
        folder,
        *(["--enable_batching", f"--batching_parameters_file={batching_parameters}"] if batching else []),
        f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}",
        "--allow_version_labels_for_unavailable_models",
        "--enable_grpc_healthcheck_service",
    )
    yield server.start()
    assert server.stop() == 0


@pytest.fixture(params=_BOTH)
def kind(request: Any) -> Kind:
    """In process, or the executable."""
    return request.param


@pytest.fixture
def launch(kind: Kind, tmp_path: Path) -> Iterator[Launch]:
    """Starts servers that are ended after the test: `launch("--model_base_path=…", wait=True)`."""
    servers: list[Server] = []

    def start(*flags: str, wait: bool = True) -> Server:
        server = KINDS[kind](tmp_path, *flags)
        servers.append(server)
        if wait:
            return server.start()
        server.launch()
        return server

    yield start
    for server in servers:
        if server.ended() is None:
            server.stop()
