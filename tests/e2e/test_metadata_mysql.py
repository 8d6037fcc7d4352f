"""ML Metadata on a MariaDB server by config: a real one is started for these tests, where there is one to start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
import yaml

from pipeline.graph import metadata_connection_config
from pipeline.metadata_server import check_metadata_server
from pipeline.run import NODES
from pipeline.state import State
from schema.errors import MetadataError
from schema.release import MetadataConfig
from tests.e2e.line_runs import ROOT, Workplace, merge, taxi_rows, write_csv
from tests.e2e.mariadb import PASSWORD, USER, mariadb, query
from tests.e2e.test_taxi import QUICK, YEAR_2014, change, states

pytestmark = pytest.mark.slow

VARIABLE = "MLMD_PASSWORD_OF_A_TEST"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with mariadb() as number:
        yield number


def prod(place: Workplace, port: int, **over: Any) -> None:
    """Writes the overlay that takes a line to the server."""
    server = {"backend": "mysql", "host": "127.0.0.1", "port": port, "database": "mlmd", "user": USER}
    metadata = {**server, "password": f"${{{VARIABLE}}}", **over}
    (place.folder / "line.prod.yaml").write_text(yaml.safe_dump({"metadata": metadata}))


def taxi(folder: Path, name: str = "taxi") -> Workplace:
    rows = [row for row in taxi_rows() if int(row["trip_start_timestamp"]) < YEAR_2014]
    write_csv(folder / "trips.csv", rows)
    made = Workplace(folder).shipped("taxi", **merge(QUICK, {"examples": {"input": "trips.csv", "window": None}}))
    change(made, name=name)
    return made


@pytest.fixture(scope="module", autouse=True)
def _password() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, PASSWORD)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, port: int) -> Workplace:
    made = taxi(tmp_path_factory.mktemp("mysql"))
    prod(made, port)
    return made


@pytest.fixture(scope="module")
def first(place: Workplace) -> dict[str, Any]:
    return place.run("--env", "prod")


def no_password(text: str) -> None:
    # No part of it that is not also an everyday word, however quoted.
    for piece in (PASSWORD, "wörd%s", "w\\303\\266rd", "w\\u00f6rd", "rd%s {1}"):
        assert piece not in text


def test_a_run_is_recorded_on_the_server_and_nowhere_else(place: Workplace, first: dict[str, Any], port: int) -> None:
    assert first["verdict"]["outcome"] == "pushed"
    assert not list(place.folder.rglob("*.sqlite"))
    ((executions,),) = query(port, "SELECT COUNT(*) FROM Execution", "mlmd")
    assert executions == len(NODES)
    runs = {name for (name,) in query(port, "SELECT name FROM Context", "mlmd")}
    assert first["run_id"] in runs


def test_the_password_is_printed_and_stored_nowhere(place: Workplace, first: dict[str, Any], port: int) -> None:
    for file in place.folder.rglob("*"):
        if file.is_file():
            no_password(file.read_bytes().decode(errors="replace"))
    for table in ("ExecutionProperty", "ArtifactProperty", "ContextProperty"):
        for (text,) in query(port, f"SELECT string_value FROM {table} WHERE string_value IS NOT NULL", "mlmd"):
            no_password(text)
    assert first["config"]["metadata"]["password"] == f"${{{VARIABLE}}}"


def test_the_same_again_does_nothing(place: Workplace, first: dict[str, Any]) -> None:
    again = place.run("--env", "prod")
    assert again["verdict"]["nothing_new"] and again["verdict"]["version"] == 1
    assert set(states(again).values()) == {"cached"}


def test_the_cache_is_that_of_the_server(place: Workplace, first: dict[str, Any]) -> None:
    change(place, evaluator={"slicing_specs": [{"feature_keys": ["trip_start_month"]}]})
    record = place.run("--env", "prod")
    assert states(record)["Trainer"] == "cached" and states(record)["Evaluator"] == "done"
    compared = place.conveyor("compare", first["run_id"], record["run_id"], "--json")
    assert compared.returncode == 0
    assert list(json.loads(compared.stdout)["config"]) == ["evaluator.slicing_specs"]


def test_the_record_is_shown(place: Workplace, first: dict[str, Any]) -> None:
    runs = place.conveyor("runs", "taxi", "--json")
    assert first["run_id"] in [run["run_id"] for run in json.loads(runs.stdout)]
    shown, in_words = place.conveyor("show", first["run_id"], "--json"), place.conveyor("show", first["run_id"])
    assert json.loads(shown.stdout)["verdict"] == first["verdict"]
    assert in_words.returncode == 0 and f"${{{VARIABLE}}}" in in_words.stdout
    for done in (runs, shown, in_words):
        no_password(done.stdout + done.stderr)


def test_two_lines_run_on_one_database_at_once(tmp_path: Path, port: int) -> None:
    places = [taxi(tmp_path / name, name) for name in ("one", "two")]
    for made in places:
        prod(made, port, database="mlmd_shared")
    started = [made.start("run", str(made.folder), "--env", "prod", "--json") for made in places]
    for process in started:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, out + err
    for name in ("one", "two"):
        ((contexts,),) = query(port, f"SELECT COUNT(*) FROM Context WHERE name = '{name}'", "mlmd_shared")
        assert contexts == 1


AT_ONCE = """
import sys, time
from ml_metadata.proto import metadata_store_pb2
import ml_metadata.metadata_store, pymysql
from pipeline.metadata_server import check_metadata_server
connection = metadata_store_pb2.ConnectionConfig.FromString(bytes.fromhex(sys.stdin.readline()))
print("ready", flush=True)
sys.stdin.readline()
check_metadata_server(connection, "line.yaml")
"""


def test_several_find_an_empty_database_at_once(port: int) -> None:
    for attempt in range(3):
        connection = connection_config(port, database=f"mlmd_race{attempt}").SerializeToString().hex()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", AT_ONCE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdin and process.stdout
            process.stdin.write(connection + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0, 0]


@pytest.mark.parametrize("collation", ["latin1_swedish_ci", "utf8mb4_bin", "utf8mb4_uca1400_ai_ci"])
def test_a_database_of_any_collation_gives_back_what_it_was_given(port: int, collation: str) -> None:
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

    database = f"mlmd_{collation}"
    try:
        query(port, f"CREATE DATABASE {database} CHARACTER SET {collation.split('_')[0]} COLLATE {collation}")
    except pymysql.err.OperationalError as error:
        pytest.skip(f"this MariaDB is too old for it: {error}")
    connection = connection_config(port, database=database)
    check_metadata_server(connection, "line.yaml")
    store = MetadataStore(connection)
    kind = metadata_store_pb2.ArtifactType(name="Words", properties={"word": metadata_store_pb2.STRING})
    words = metadata_store_pb2.Artifact(type_id=store.put_artifact_type(kind), uri="/Zürich/東京 🚕")
    words.properties["word"].string_value = "Zürich 東京 🚕"
    (found,) = store.get_artifacts_by_id(store.put_artifacts([words]))
    assert (found.uri, found.properties["word"].string_value) == ("/Zürich/東京 🚕", "Zürich 東京 🚕")


def connection_config(port: int, *, password: str = PASSWORD, **over: Any) -> Any:
    server = {"backend": "mysql", "host": "localhost", "port": port, "database": "mlmd", "user": USER, **over}
    config = MetadataConfig(**server)
    return metadata_connection_config(config, State(Path("/state"), "taxi"), {"metadata.password": password})


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("user", {"user": "nobody"}), ("password", {"password": PASSWORD + "!"}), ("database", {"database": "other"})],
)
def test_what_the_server_refuses_is_said_by_its_key(port: int, key: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(
        MetadataError, match=f"^line.yaml: (metadata.user and )?metadata.{key} .*: Access denied for"
    ) as no:
        check_metadata_server(connection_config(port, **wrong), "line.yaml")
    no_password(str(no.value))


def test_a_database_with_a_part_of_the_tables(port: int) -> None:
    check_metadata_server(connection_config(port, database="mlmd_new"), "line.yaml")
    query(port, "DROP TABLE Artifact", "mlmd_new")
    with pytest.raises(
        MetadataError, match=r"^line.yaml: metadata.database must be .*Got 'mlmd_new' instead: .*tables"
    ):
        check_metadata_server(connection_config(port, database="mlmd_new"), "line.yaml")


def test_a_run_with_the_wrong_password_says_so_at_once(tmp_path: Path, port: int) -> None:
    place = taxi(tmp_path)
    prod(place, port)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "wrong" + PASSWORD)
        done = place.conveyor("run", str(place.folder), "--env", "prod", timeout=120)
    assert done.returncode == 1
    said = " ".join((done.stdout + done.stderr).split())
    assert "line.prod.yaml: metadata.user and metadata.password must log in at 127.0.0.1" in said
    assert "Traceback" not in said and "✗" not in said
    no_password(said)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            no_password(file.read_bytes().decode(errors="replace"))
