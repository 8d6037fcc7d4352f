"""Says in one line why ML Metadata's MySQL server cannot be used, before the run starts.

ML Metadata's own client cannot: it waits for ever for a server that is silent, and its error for a wrong host or
password has neither number nor text. A second client, PyMySQL, asks first.
"""

from __future__ import annotations

import random
import textwrap
import time
from typing import Any

from schema.errors import MetadataError

TIMEOUT_SECONDS = 10
OPEN_TRIES = 20
LOST_CONNECTION, NO_DATABASE, NO_ACCESS_TO_DATABASE = 2013, 1049, 1044
NO_LOGIN = (1045, 1698)


def check_metadata_server(connection: Any, where: str) -> None:
    """Returns when ML Metadata can use its server; makes the tables when they are not there yet.

    Args:
        connection: a ConnectionConfig proto; one of SQLite has no server and passes.
        where: the file or files that the line's `metadata` section was read from.

    Raises:
        MetadataError: one line that names the key to mend. The password is not in it.
    """
    if not connection.HasField("mysql"):
        return
    server = connection.mysql
    trouble = _asked(server) or _opened(connection)
    if trouble is not None:
        message, hint = trouble
        if server.password:
            message = message.replace(server.password, "***")
        raise MetadataError(f"{where}: {message}", hint=hint)


def _asked(server: Any) -> tuple[str, str] | None:
    """Logs in and out again. Returns what is wrong and what to do about it, or None."""
    import pymysql

    try:
        pymysql.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            # As ML Metadata's client sends it; of a text PyMySQL takes Latin-1 letters only.
            password=server.password.encode(),
            database=server.database,
            connect_timeout=TIMEOUT_SECONDS,
            read_timeout=TIMEOUT_SECONDS,
            write_timeout=TIMEOUT_SECONDS,
        ).close()
    except pymysql.err.MySQLError as error:
        number = error.args[0] if len(error.args) > 1 else 0
        text = str(error.args[-1]) if error.args else repr(error)
    except RuntimeError as error:
        return _no_login(server, f"the server asks for another way to log in ({error})")
    else:
        return None
    if number == NO_DATABASE:
        # ML Metadata makes it, when it may.
        return None
    if number in NO_LOGIN:
        return _no_login(server, text)
    if number == NO_ACCESS_TO_DATABASE:
        return _no_database(server, text)
    if number == LOST_CONNECTION:
        text = f"no answer in MySQL's protocol ({text})"
    return (
        "metadata.host and metadata.port must name a MySQL or MariaDB server that answers. "
        f"Got {server.host}:{server.port} instead: {text}",
        "mend metadata.host or metadata.port, or start the server",
    )


def _opened(connection: Any) -> tuple[str, str] | None:
    """Opens ML Metadata's store as each node of the run will. Returns what is wrong and what to do, or None."""
    from ml_metadata.errors import StatusError
    from ml_metadata.metadata_store import MetadataStore

    text = ""
    for _ in range(OPEN_TRIES):
        try:
            MetadataStore(connection)
            return None
        except (RuntimeError, StatusError) as error:
            text = textwrap.shorten(str(error), 300, placeholder=" ...")
        if "retry" not in text:
            break
        # Lines that find an empty database at the same time: one makes the tables, the others see some of them.
        time.sleep(0.2 + random.random() / 2)
    if "mysql_real_connect" in text:
        return _no_login(connection.mysql, "the server asks for another way to log in, or for TLS")
    return _no_database(connection.mysql, text)


def _no_login(server: Any, text: str) -> tuple[str, str]:
    return (
        f"metadata.user and metadata.password must log in at {server.host}:{server.port} by mysql_native_password. "
        f"Got user {server.user!r} instead: {text}",
        "mend metadata.user, or the environment variable that metadata.password names; ML Metadata knows no other way "
        "to log in",
    )


def _no_database(server: Any, text: str) -> tuple[str, str]:
    return (
        "metadata.database must be one of ML Metadata's own or an empty one, on which metadata.user has all rights. "
        f"Got {server.database!r} instead: {text}",
        "mend metadata.database, or create it and grant metadata.user all rights on it",
    )
