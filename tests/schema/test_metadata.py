"""The `metadata` section takes what ML Metadata can take."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schema.release import MetadataConfig

SERVER: dict[str, Any] = {"backend": "mysql", "host": "db", "database": "mlmd", "user": "conveyor"}


def test_a_server() -> None:
    assert MetadataConfig(**SERVER).port == 3306


@pytest.mark.parametrize("missing", ["host", "database", "user"])
def test_a_server_has_a_host_a_database_and_a_user(missing: str) -> None:
    with pytest.raises(ValidationError, match="must set host, database and user for backend mysql"):
        MetadataConfig(**{**SERVER, missing: None})


@pytest.mark.parametrize("database", ["ml-md", "ml md", "1mlmd", "mlmd; DROP DATABASE mlmd", "m" * 65, ""])
def test_a_database_that_would_be_other_sql(database: str) -> None:
    with pytest.raises(ValidationError, match="must be letters, digits and underscores"):
        MetadataConfig(**{**SERVER, "database": database})


@pytest.mark.parametrize("port", [0, 65536])
def test_ports(port: int) -> None:
    with pytest.raises(ValidationError):
        MetadataConfig(**{**SERVER, "port": port})
