"""`conveyor batch` as a user has it: in a process of its own, killed, beside a server, in worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.pipeline.batch.toy_line import ToyLine, csv_rows, write_model

pytestmark = pytest.mark.slow

ARGS = ("--input", "in.csv", "--rows-per-part", "4000", "--key", "id")
PARTS = 10


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyLine:
    folder = tmp_path_factory.mktemp("batch")
    line = ToyLine.make(folder / "toy", "multiclass_classification")
    line.push(1, write_model(folder / "model", "multiclass_classification", 5))
    line.table("in.csv", csv_rows(PARTS * 4000))
    workers = "direct_running_mode: multi_processing, direct_num_workers: 2"
    (line.folder / "line.workers.yaml").write_text("beam: {" + workers + "}\n")
    return line


@pytest.fixture(scope="module")
def whole(toy: ToyLine) -> dict[str, bytes]:
    """The bytes of an undisturbed batch, in `whole`."""
    done = run(toy, "batch", toy.folder, *ARGS, "--output", "whole")
    assert done["rows_out"] == PARTS * 4000
    return toy.contents("whole")


def run(toy: ToyLine, *args: Any, **env: str) -> dict[str, Any]:
    process = toy.start(*args, "--json", **env)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out[-2000:] + err[-4000:]
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("parts", [1, 4])
def test_killed_and_called_again(toy: ToyLine, whole: dict[str, bytes], parts: int) -> None:
    output = toy.folder / f"killed-{parts}"
    process = toy.start("batch", toy.folder, *ARGS, "--output", output.name)
    deadline = time.monotonic() + 120
    while len(list(output.glob(".batch/part-*.json"))) < parts and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (output / "manifest.json").exists(), "it was killed too late"
    assert len(list(output.glob("predictions-*"))) < 2 * PARTS
    document = run(toy, "batch", toy.folder, *ARGS, "--output", output.name)
    assert 0 < document["made"] <= PARTS - parts
    assert toy.contents(output.name) == whole
    assert [part["rows"] for part in document["parts"]] == [4000] * PARTS
    assert run(toy, "batch", toy.folder, *ARGS, "--output", output.name)["made"] == 0


def test_worker_processes_make_the_same_bytes(toy: ToyLine, whole: dict[str, bytes]) -> None:
    # What is small is done without Beam: here nothing is small.
    driver = toy.folder / "driver.py"
    driver.write_text(
        "import sys\nfrom conveyor.cli import main\nfrom pipeline.batch import work\n"
        "work.BEAM_ABOVE_BYTES = 0\nraise SystemExit(main(sys.argv[1:]))\n"
    )
    probe = toy.start("--version")
    assert probe.wait(timeout=60) == 0
    command = [*probe.args[:1], str(driver), "batch", str(toy.folder), *ARGS]  # type: ignore[index]
    done = subprocess.run(
        [*command, "--output", "workers", "--env", "workers", "--json"],
        cwd=toy.folder,
        env={**os.environ, "CONVEYOR_HOME": str(toy.folder / "state"), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "--direct_running_mode=multi_processing" in json.loads(done.stdout)["runner"]
    assert toy.contents("workers") == whole


def test_predictions_and_columns_are_those_of_conveyor_predict(toy: ToyLine, whole: dict[str, bytes]) -> None:
    table = toy.table("some.csv", csv_rows(1500))
    server = toy.start("serve", toy.folder, "--backend", "embedded", "--port", "0", "--rest-port", "0", "--json")
    try:
        assert server.stdout is not None
        text = ""
        while not text.endswith("}\n") and server.poll() is None:
            text += server.stdout.readline()
        address = json.loads(text)
        port = str(next(value for name, value in address.items() if "grpc" in name)).rpartition(":")[2]
        run(toy, "predict", toy.folder, "--csv", table, "--output", "some.parquet", "--address", f"127.0.0.1:{port}")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=60)
    run(toy, "batch", toy.folder, "--input", table, "--output", "some")
    theirs, ours = pq.read_table(toy.folder / "some.parquet"), toy.predictions("some")
    outputs = [name for name in ours.column_names if name not in ("row", "file", "line")]
    assert outputs == [name for name in theirs.column_names if name in outputs]
    assert set(theirs.column_names) - set(outputs) == {"id", "amount", "count", "shade", "tip", "request_id"}
    for name in outputs:
        if ours[name].type == "float":
            # The server has other rows together: a sum's last bits may differ.
            np.testing.assert_allclose(np.array(ours[name]), np.array(theirs[name]), rtol=0, atol=1e-6)
        else:
            assert ours[name].to_pylist() == theirs[name].to_pylist(), name
