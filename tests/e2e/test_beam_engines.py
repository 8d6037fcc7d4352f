"""Lines on real engines by Beam's portability protocol: the same records, statistics, transform graph and metrics.

Workers are pools in processes of their own; with the process that runs the line they share a file system and nothing
else. Beam's own job service is always there. Prism is found as `prism` on the PATH or by `CONVEYOR_PRISM`; Flink needs
Java and the job server's archive, `CONVEYOR_FLINK_JOB_SERVER_JAR` (Spark: `CONVEYOR_SPARK_JOB_SERVER_JAR`).
`CONVEYOR_WORKER_PYTHON` is the Python of another environment for the workers: one with Beam, in which pip has installed
the archive that setup.py makes, is what workers of Beam's own image have.

Sums are made in the order of files on every engine, so that nothing needs a tolerance: all is equal to the last bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.line_runs import ROOT, Workplace, merge, taxi_rows, write_csv
from tests.e2e.test_beam_multi_processing import DRIVER
from tests.e2e.test_taxi import QUICK, YEAR_2014
from tests.gcs import cloud_storage

pytestmark = pytest.mark.slow

WORKER_PYTHON = os.environ.get("CONVEYOR_WORKER_PYTHON") or sys.executable
WORKER_IMPORTS = {} if "CONVEYOR_WORKER_PYTHON" in os.environ else {"PYTHONPATH": str(ROOT)}
COMPARED = ("SpanExampleGen", "SpanStatisticsGen", "Transform", "Evaluator")


@dataclasses.dataclass(frozen=True)
class Engine:
    """A job server to be started.

    Attributes:
        command: `{port}` stands for its port, `{folder}` for a folder of its own.
        runner: what the line config calls it.
        missing: why it cannot be had, or an empty string.
    """

    command: list[str]
    runner: str = "PortableRunner"
    missing: str = ""


def java_engine(variable: str, runner: str, master: list[str]) -> Engine:
    archive = os.environ.get(variable, "")
    missing = "" if archive else f"{variable} names no job server of {runner}"
    if archive and shutil.which("java") is None:
        missing = "there is no java on the PATH"
    ports = ["--job-port={port}", "--artifact-port=0", "--expansion-port=0", "--artifacts-dir={folder}"]
    return Engine(["java", "-jar", archive, *master, *ports], runner, missing)


PRISM = os.environ.get("CONVEYOR_PRISM") or shutil.which("prism") or ""
ENGINES = {
    "job service": Engine(
        [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "-p", "{port}"]
    ),
    "prism": Engine(
        [PRISM, "--job_port={port}", "--serve_http=false"],
        missing="" if PRISM else "no prism on the PATH; go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.74.0",
    ),
    "flink": java_engine("CONVEYOR_FLINK_JOB_SERVER_JAR", "FlinkRunner", ["--flink-master=[local]"]),
    "spark": java_engine("CONVEYOR_SPARK_JOB_SERVER_JAR", "SparkRunner", ["--spark-master-url=local[2]"]),
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], port: int, folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Runs a server as long as the block does; nothing of this process's environment but the PATH comes to it."""
    folder.mkdir(parents=True)
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                assert process.poll() is None, (folder / "log.txt").read_text()[-3000:]
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
                    break
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(30)


def call(line: Workplace, environment: str, verb: str, *args: str) -> dict[str, Any]:
    """Calls a command about the line in a state of its own and returns what it says."""
    home = line.folder / f"state-{environment}"
    done = subprocess.run(
        [sys.executable, str(line.folder / "driver.py"), verb, str(line.folder), "--env", environment, "--json", *args],
        cwd=line.folder,
        env={**os.environ, "CONVEYOR_HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def run(line: Workplace, environment: str) -> dict[str, Any]:
    """Runs the line, then predicts its whole input in parts; returns the record of the run."""
    record = call(line, environment, "run")
    output = str(line.folder / f"predictions-{environment}")
    call(line, environment, "batch", "--input", "all", "--output", output, "--rows-per-part", "1000")
    return record


def predictions(line: Workplace, environment: str) -> dict[str, str]:
    """Returns file to SHA-256, of what was predicted."""
    folder = line.folder / f"predictions-{environment}"
    found = sorted(folder.glob("*.parquet")) + sorted(folder.glob("*.tfrecord.gz"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def contents(line: Workplace, environment: str) -> dict[str, str]:
    """Returns file to SHA-256, of all that the components which use Beam have written."""
    root = line.folder / f"state-{environment}" / "taxi" / "pipeline_root"
    return {
        str(path.relative_to(root)): hashlib.sha256(content(path)).hexdigest()
        for node in COMPARED
        for path in sorted((root / node).rglob("*"))
        # A hash over the graph and the names in it.
        if path.is_file() and path.name != "fingerprint.pb"
    }


def content(path: Path) -> bytes:
    """Returns a file's bytes; of a graph, without the numbers in its functions' names.

    TensorFlow numbers functions as they are traced in a process, and on an engine others are traced in this one.
    """
    if path.name != "saved_model.pb":
        return path.read_bytes()
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta in graph.meta_graphs:
        functions = sorted(meta.graph_def.library.function, key=lambda function: unnumbered(function.signature.name))
        assert len({unnumbered(function.signature.name) for function in functions}) == len(functions)
        del meta.graph_def.library.function[:]
        meta.graph_def.library.function.extend(functions)
    return unnumbered(text_format.MessageToString(graph)).encode()


def unnumbered(text: str) -> str:
    return re.sub(r"(__inference_\w+?)_\d+\b", r"\1", text)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("engines")
    write_csv(folder / "trips.csv", [row for row in taxi_rows() if int(row["trip_start_timestamp"]) < YEAR_2014])
    (folder / "driver.py").write_text(DRIVER)
    (folder / "line.here.yaml").write_text("{}\n")
    return Workplace(folder).shipped("taxi", **merge(QUICK, {"examples": {"input": "trips.csv", "window": None}}))


@pytest.fixture(scope="module")
def here(line: Workplace) -> dict[str, Any]:
    return run(line, "here")


@contextlib.contextmanager
def engine_for(line: Workplace, name: str, wrapper: Sequence[str] = (), **env: str) -> Iterator[Path]:
    """Runs an engine and its worker pool, and writes the overlay that takes the line there; yields their folder."""
    engine = ENGINES[name]
    port, pool_port = free_port(), free_port()
    environment = name.replace(" ", "-")
    section = {
        "runner": engine.runner,
        "job_endpoint": f"localhost:{port}",
        "environment_type": "EXTERNAL",
        "environment_config": f"localhost:{pool_port}",
    }
    (line.folder / f"line.{environment}.yaml").write_text(yaml.safe_dump({"beam": section}))
    folder = line.folder / environment
    command = [part.format(port=port, folder=folder / "artifacts") for part in engine.command]
    # A pool starts its workers with the python that comes first on its PATH.
    worker = {"PATH": f"{Path(WORKER_PYTHON).parent}:/usr/bin:/bin", "HOME": str(folder), **WORKER_IMPORTS, **env}
    pool = [*wrapper, WORKER_PYTHON, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"]
    server_env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with serving(command, port, folder / "server", server_env), serving(pool, pool_port, folder / "pool", worker):
        yield folder


def workers_started(folder: Path) -> int:
    """Returns how many workers an engine's pool has started: one a job, at least."""
    return (folder / "pool" / "log.txt").read_text().count("Starting worker with command")


@pytest.mark.parametrize("name", list(ENGINES))
def test_an_engine_gives_what_this_machine_gives(line: Workplace, name: str, here: dict[str, Any]) -> None:
    if ENGINES[name].missing:
        pytest.skip(f"{name} was not tried: {ENGINES[name].missing}")
    with engine_for(line, name) as folder:
        record = run(line, folder.name)
    assert record["verdict"]["model_digest"] == here["verdict"]["model_digest"]
    assert record["slices"] == here["slices"]
    expected = contents(line, "here")
    assert len(expected) > 20
    assert contents(line, folder.name) == expected
    assert len(predictions(line, "here")) >= 6
    assert predictions(line, folder.name) == predictions(line, "here")
    assert workers_started(folder) > len(COMPARED)


def test_workers_that_share_nothing_but_a_bucket(tmp_path: Path, line: Workplace, here: dict[str, Any]) -> None:
    """As Dataflow's workers: the run has the bucket mounted, and where that is they have an empty disk of their own."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this user may not make a mount namespace, in which the bucket's folder is hidden from the workers")
    mounted = tmp_path / "disk" / "mounted"
    bucket = mounted / "bucket"
    write_csv(bucket / "trips.csv", [row for row in taxi_rows() if int(row["trip_start_timestamp"]) < YEAR_2014])
    over = merge(QUICK, {"examples": {"input": str(bucket / "trips.csv"), "window": None}})
    inside = Workplace(bucket / "line").shipped("taxi", **over)
    (inside.folder / "driver.py").write_text(DRIVER)
    hidden = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {mounted.parent} && cd / && exec "$@"', "sh"]
    with cloud_storage(mounted) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVEYOR_GCS_MOUNT", str(mounted))
        with engine_for(inside, "job service", hidden, HOME=str(tmp_path), STORAGE_EMULATOR_HOST=address) as folder:
            record = run(inside, folder.name)
    assert record["verdict"]["model_digest"] == here["verdict"]["model_digest"]
    assert record["slices"] == here["slices"]
    assert predictions(inside, folder.name) == predictions(line, "here")
    assert workers_started(folder) > len(COMPARED)
