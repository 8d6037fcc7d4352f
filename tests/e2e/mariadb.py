"""A MariaDB server for the time of a test, from the programs of the system it runs on."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

USER = "conveyor"
PASSWORD = "pa\"s'\\wörd%s {1}"
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])


def _server_program() -> str:
    for name in ("mariadbd", "mysqld"):
        found = shutil.which(name, path=PATH)
        if found and "MariaDB" in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:
            return found
    pytest.skip("MariaDB's server is neither on PATH nor in /usr/sbin (Debian's package: mariadb-server)")


@contextlib.contextmanager
def mariadb() -> Iterator[int]:
    """Starts a fresh server in which USER may do anything in databases whose names start with `mlmd`.

    Yields:
        Its port. Without MariaDB on this system the test is skipped.
    """
    server = _server_program()
    install = shutil.which("mariadb-install-db", path=PATH) or shutil.which("mysql_install_db", path=PATH)
    assert install, f"{server} is there, but mariadb-install-db is not"
    # A short path: that of a socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="mlmd-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        common = ["--no-defaults", f"--datadir={folder / 'data'}"]
        if os.geteuid() == 0:
            common.append("--user=root")
        made = subprocess.run([install, *common, "--skip-test-db"], capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        (folder / "init.sql").write_text(
            "SET NAMES utf8mb4;\n"
            f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{quoted}';\n"
            f"GRANT ALL ON `mlmd%`.* TO '{USER}'@'%';\n",
            encoding="utf-8",
        )
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        own = {"socket": folder / "socket", "pid-file": folder / "pid", "init-file": folder / "init.sql", "port": port}
        options = [*common, "--bind-address=127.0.0.1", *(f"--{option}={value}" for option, value in own.items())]
        log = stack.enter_context((folder / "log").open("w"))
        process = subprocess.Popen([server, *options], stdout=log, stderr=log)
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        deadline = time.monotonic() + 120
        while True:
            try:
                connect(port).close()
                break
            except pymysql.err.MySQLError as error:
                said = (folder / "log").read_text(errors="replace")
                assert process.poll() is None and time.monotonic() < deadline, f"{error}\n{said}"
                time.sleep(0.2)
        yield port


def connect(port: int, database: str | None = None) -> Any:
    """Returns a connection of USER."""
    return pymysql.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD.encode(), database=database)


def query(port: int, sql: str, database: str | None = None) -> list[Any]:
    """Returns the rows of a query of USER."""
    with contextlib.closing(connect(port, database)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
