"""Beam's workers as threads and as processes, from the line's config: the same model, and none is lost unseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.e2e.line_runs import ROOT, Workplace, merge, taxi_rows, write_csv
from tests.e2e.test_taxi import QUICK, YEAR_2014

pytestmark = pytest.mark.slow

# What is small is done without Beam: here nothing is small.
DRIVER = """
import sys
from components.evaluator import executor as evaluator
from components.span_example_gen import executor as example_gen
from components.span_statistics_gen import executor as statistics_gen
from components.transform import executor as transform
from conveyor.cli import main
from pipeline.batch import work
evaluator.SHARD_BYTES = 1
example_gen.BEAM_ABOVE_BYTES = 0
statistics_gen.INLINE_MAX_ROWS = -1
transform.IN_PROCESS_BYTES = 0
work.BEAM_ABOVE_BYTES = 0
raise SystemExit(main(sys.argv[1:]))
"""
BEAM_NODES = {"SpanExampleGen", "SpanStatisticsGen", "Transform", "Evaluator"}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("beam")
    write_csv(folder / "trips.csv", [row for row in taxi_rows() if int(row["trip_start_timestamp"]) < YEAR_2014])
    place = Workplace(folder).shipped("taxi", **merge(QUICK, {"examples": {"input": "trips.csv", "window": None}}))
    for mode in ("in_memory", "multi_threading", "multi_processing"):
        workers = 1 if mode == "in_memory" else 2
        overlay = {"beam": {"direct_running_mode": mode, "direct_num_workers": workers}}
        (folder / f"line.{mode}.yaml").write_text(yaml.safe_dump(overlay))
    (folder / "driver.py").write_text(DRIVER)
    # Where a user works there may be anything; worker processes must not take it for ours.
    for name in ("data", "schema", "components", "pipeline"):
        (folder / "elsewhere").mkdir(exist_ok=True)
        (folder / "elsewhere" / f"{name}.py").write_text("raise SystemExit('this is not ours')\n")
    return place


def run(line: Workplace, mode: str) -> tuple[dict[str, Any], str]:
    """Runs the line in a state of its own, from the folder elsewhere. Returns the record and the log."""
    home = line.folder / f"state-{mode}"
    done = subprocess.run(
        [sys.executable, str(line.folder / "driver.py"), "run", str(line.folder), "--env", mode, "--json"],
        cwd=line.folder / "elsewhere",
        env={**os.environ, "CONVEYOR_HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    record = json.loads(done.stdout)
    return record, (home / "taxi" / "runs" / record["run_id"] / "log.txt").read_text()


@pytest.fixture(scope="module")
def in_memory(line: Workplace) -> tuple[dict[str, Any], str]:
    return run(line, "in_memory")


def test_nothing_is_fetched_to_run_a_pipeline(in_memory: tuple[dict[str, Any], str]) -> None:
    record, log = in_memory
    assert record["verdict"]["outcome"] == "pushed"
    assert "prism" not in log.lower()
    assert "--setup_file" not in log, "a small line has no options for Beam at all"


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_the_model_is_the_same_in_every_mode(line: Workplace, mode: str, in_memory: tuple[dict[str, Any], str]) -> None:
    expected = in_memory[0]
    record, log = run(line, mode)
    assert record["verdict"]["model_digest"] == expected["verdict"]["model_digest"]
    assert record["slices"] == expected["slices"]
    assert f"--setup_file={ROOT}/setup.py" in log and "prism" not in log.lower()
    # Beam's runner hands on what its worker processes log, each when it starts.
    started = log.count("worker/sdk_worker_main.py")
    assert started >= 2 * len(BEAM_NODES) if mode == "multi_processing" else not started


KILLED = """
import os, signal, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

def work(number):
    if number == 2:
        END
    return number

if __name__ == "__main__":
    options = ["--runner=pipeline.local_beam.LocalRunner", "--direct_running_mode=multi_processing"]
    with beam.Pipeline(options=PipelineOptions([*options, "--direct_num_workers=2"])) as pipeline:
        _ = pipeline | beam.Create(range(4)) | beam.Reshuffle() | beam.Map(work)
"""


def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED.replace("END", "import time; time.sleep(600)"))
    run = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        parent = psutil.Process(run.pid)
        deadline = time.monotonic() + 120
        while len(workers := parent.children(recursive=True)) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(workers) == 2
    finally:
        run.kill()
        run.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert not alive


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "a Beam worker process ended at work (Worker subprocess exited with"),
        ("os._exit(0)", "a Beam worker process ended at work by itself"),
        ("raise ValueError('a reason')", "ValueError: a reason"),
    ],
)
def test_a_lost_worker_ends_the_pipeline(tmp_path: Path, end: str, said: str) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED.replace("END", end))
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert said in done.stderr
