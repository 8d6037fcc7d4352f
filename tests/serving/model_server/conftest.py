"""What the tests of the model server share: toy models, written in milliseconds, and managers that serve them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.model_server.loading import LoadOptions
from serving.model_server.manager import Manager
from serving.model_server.model_config import ServerModels
from tests.serving.model_server.toy_models import ToyModels

MakeManager = Callable[..., Manager]


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    """Writes toy models: `toy_models.write(base_path, version, offset=3.0)`. What they do: `toy_models.py`."""
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


@pytest.fixture(scope="session")
def toy_manager(toy_models: ToyModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """A manager that serves version 1 (offset 2) of the toy model as `toy`. Shared by all tests: for asking only."""
    base_path = tmp_path_factory.mktemp("toy")
    toy_models.write(base_path, 1)
    manager = Manager(ServerModels.single("toy", base_path), file_system_poll_wait_seconds=0)
    manager.start()
    yield manager
    manager.stop(timeout=10)


@pytest.fixture
def make_manager() -> Iterator[MakeManager]:
    """Makes managers that are stopped after the test.

    `make_manager(config_or_base_path, start=True, **options)`. A base path is served as `m`. It looks at the base path
    each 20 ms and tries each version once, unless `file_system_poll_wait_seconds` or `load_options` say otherwise.
    """
    managers: list[Manager] = []

    def make(config: ServerModels | Path, *, start: bool = True, **options: Any) -> Manager:
        if isinstance(config, Path):
            config = ServerModels.single("m", config)
        options.setdefault("file_system_poll_wait_seconds", 0.02)
        options.setdefault("load_options", LoadOptions(max_num_load_retries=0))
        managers.append(Manager(config, **options))
        if start:
            managers[-1].start()
        return managers[-1]

    yield make
    for manager in managers:
        manager.stop(timeout=10)
