"""What is wrong with ML Metadata's server is said in one line that names the key, and without the password."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import metadata_server
from pipeline.graph import metadata_connection_config
from pipeline.metadata_server import check_metadata_server
from pipeline.state import State
from schema.errors import MetadataError
from schema.release import MetadataConfig

SECRET = "hunter2"


def complaint(host: str, port: int) -> MetadataError:
    config = MetadataConfig(backend="mysql", host=host, port=port, database="mlmd", user="conveyor")
    connection = metadata_connection_config(config, State(Path("/state"), "taxi"), {"metadata.password": SECRET})
    with pytest.raises(MetadataError) as raised:
        check_metadata_server(connection, "line.prod.yaml")
    assert SECRET not in str(raised.value)
    assert raised.value.exit_code == 1
    message = raised.value.args[0]
    assert "\n" not in message and raised.value.hint
    assert message.startswith("line.prod.yaml: metadata.host and metadata.port must name a MySQL or MariaDB server")
    return raised.value


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_nobody_listens(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.close()
    assert f"Got 127.0.0.1:{port} instead" in str(complaint("127.0.0.1", port))


def test_there_is_no_such_host() -> None:
    assert "nowhere.invalid:3306" in str(complaint("nowhere.invalid", 3306))


def test_a_server_that_keeps_silent_is_not_waited_for_for_ever(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_server, "TIMEOUT_SECONDS", 1)
    assert "no answer in MySQL's protocol" in str(complaint("127.0.0.1", listening.getsockname()[1]))


def test_sqlite_has_no_server(tmp_path: Path) -> None:
    check_metadata_server(metadata_connection_config(MetadataConfig(), State(tmp_path, "taxi"), {}), "line.yaml")


def test_localhost_is_reached_by_its_port() -> None:
    config = MetadataConfig(backend="mysql", host="localhost", port=3307, database="mlmd", user="conveyor")
    server = metadata_connection_config(config, State(Path("/state"), "taxi"), {"metadata.password": SECRET}).mysql
    assert (server.host, server.port, server.password, server.socket) == ("127.0.0.1", 3307, SECRET, "")
