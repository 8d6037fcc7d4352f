"""The scenarios: who is asked, how, and what comes out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import CommandFailed, measure, median
from benchmarks.scenarios import shipped_line
from benchmarks.serving import bodies
from benchmarks.serving.clients import Answers, Load, ask
from benchmarks.serving.servers import Server, running

Say = Callable[[str], None]

SWAPS = 20
SWAP_SECONDS = 1.5
"""Seconds from one swap to the next."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the served line is.

    Attributes:
        folder: what is measured is written here.
        model: the SavedModel that is served.
    """

    folder: Path
    model: Path

    @property
    def state(self) -> Path:
        """The state of all lines."""
        return self.folder / "state"


def prepare(folder: Path, say: Say) -> Place:
    """Runs `taxi` once, unless this folder has its model already."""
    state = folder / "state"
    found = sorted(state.glob("taxi/serving_model/taxi/[0-9]*"))
    if not found:
        say("conveyor run taxi, for a model to serve")
        measure(["-m", "conveyor", "run", "taxi"], env={"CONVEYOR_HOME": str(state)}, log=folder / "run.log")
        found = sorted(state.glob("taxi/serving_model/taxi/[0-9]*"))
    return Place(folder, found[-1])


def line_server(place: Place, name: str, *, capture: bool) -> contextlib.AbstractContextManager[Server]:
    """Runs `conveyor serve taxi`, with or without capture."""
    path = shipped_line(place.folder / name, "taxi", serving={"capture": {"enabled": capture}})
    args = ["serve", str(path), "--port", "0", "--rest-port", "0", "--json"]
    log = place.folder / name / "log"
    return running("conveyor", args, log, {"CONVEYOR_HOME": str(place.state)})


def against_others(place: Place, rounds: int, seconds: float, say: Say) -> dict[str, Any]:
    """Measures the embedded server with and without capture, the canned server and the FastAPI app, interleaved."""
    with contextlib.ExitStack() as stack:
        servers = {
            "embedded": stack.enter_context(line_server(place, "plain", capture=False)),
            "capture": stack.enter_context(line_server(place, "capture", capture=True)),
            "keras_app": stack.enter_context(
                running("benchmarks.serving.keras_app", [str(place.model)], place.folder / "keras_app.log")
            ),
        }
        files = {n: bodies.write(place.folder / "bodies", servers["embedded"].addresses["grpc"], n) for n in (1, 32)}
        answer = place.folder / "bodies" / "answer"
        answer.write_bytes(_answer(servers["embedded"], files[1]["grpc"]))
        servers["canned"] = stack.enter_context(
            running("benchmarks.serving.canned", [str(answer)], place.folder / "canned.log")
        )
        measured: dict[tuple[str, str, int, int], list[Answers]] = {}
        for number in range(rounds):
            for batch in (1, 32):
                for count in (1, 16):
                    for name, api in _asked(batch):
                        say(f"round {number + 1} of {rounds}: {name} by {api}, batch {batch}, {count} clients")
                        load = _load(name, api, files[batch], count, seconds)
                        answers = ask(servers[name], load, place.folder / "answers")
                        _no_failures(answers, f"{name} by {api}")
                        measured.setdefault((name, api, batch, count), []).append(answers)
    return {
        "rows": [
            {"server": name, "api": api, "batch": batch, "clients": count, **_medians(answers)}
            for (name, api, batch, count), answers in measured.items()
        ],
        "rounds": rounds,
        "seconds": seconds,
        "request_bytes": {f"{name}-{n}": files[n][name].stat().st_size for n in (1, 32) for name in ("grpc", "rest")},
    }


def swaps(place: Place, say: Say) -> dict[str, Any]:
    """Measures `conveyor-model-server` while new versions appear: latencies before, and around each swap."""
    say(f"{SWAPS} hot swaps under the load of 16 clients")
    base = place.folder / "swaps" / "taxi"
    shutil.rmtree(base.parent, ignore_errors=True)
    base.mkdir(parents=True)
    shutil.copytree(place.model, base / "1")
    quiet = SWAPS * SWAP_SECONDS / 2
    pushed: list[float] = []
    with _model_server(place, base) as server:
        body = bodies.write(place.folder / "bodies", server.addresses["grpc"], 1)["grpc"]

        def push(begin: float) -> None:
            time.sleep(max(begin + quiet - time.time(), 0))
            for version in range(2, SWAPS + 2):
                hidden = base / f"copying-{version}"
                shutil.copytree(place.model, hidden)
                os.replace(hidden, base / str(version))
                pushed.append(time.time())
                time.sleep(SWAP_SECONDS)

        load = Load("grpc", bodies.METHODS["grpc"], body, 16, quiet + SWAPS * (SWAP_SECONDS + 0.5) + 2)
        answers = ask(server, load, place.folder / "answers", push)
        seen = _version(server, body)
    before = answers.seconds[answers.began + answers.seconds < pushed[0]]
    # A version is seen within a second, and loaded within another half: that is the time of the swap.
    during = answers.seconds[(answers.began >= pushed[0]) & (answers.began < pushed[-1] + SWAP_SECONDS)]
    return {
        "swaps": SWAPS,
        "last_version": seen,
        "requests": len(answers.seconds),
        "failures": answers.failures,
        "p99_before_ms": round(float(np.quantile(before, 0.99) * 1e3), 2),
        "p99_during_ms": round(float(np.quantile(during, 0.99) * 1e3), 2),
        "max_during_ms": round(float(during.max() * 1e3), 2),
    }


def soak(place: Place, requests: int, say: Say) -> dict[str, Any]:
    """Sends many requests to `conveyor serve` with capture, watches its memory, and counts what was captured."""
    say(f"{requests:,} requests with capture on")
    captured = place.state / "taxi" / "capture"
    shutil.rmtree(captured, ignore_errors=True)
    memory: list[tuple[float, float]] = []
    done = threading.Event()
    with line_server(place, "soak", capture=True) as server:
        body = bodies.write(place.folder / "bodies", server.addresses["grpc"], 1)["grpc"]

        def watch() -> None:
            while not done.wait(1.0):
                memory.append((time.time(), server.resident_mib()))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        load = Load("grpc", bodies.METHODS["grpc"], body, 16, 3600.0, requests=requests, warm_up=False)
        answers = ask(server, load, place.folder / "answers")
        done.set()
        watcher.join()
    times = np.array([at for at, _ in memory])
    mib = np.array([size for _, size in memory])
    first, last = answers.began[0], answers.began[-1]
    share = (times - first) / (last - first)
    # The first fifth warms up; memory is compared between the second fifth and the last.
    early, late = mib[(share > 0.2) & (share <= 0.4)], mib[(share > 0.8) & (share <= 1.0)]
    return {
        "requests": len(answers.seconds),
        "failures": answers.failures,
        "seconds": round(float(last - first), 1),
        "captured": _count_captured(captured),
        "early_mib": round(float(np.median(early)), 1),
        "late_mib": round(float(np.median(late)), 1),
        **answers.figures(),
    }


def _asked(batch: int) -> list[tuple[str, str]]:
    rows = [("embedded", "grpc"), ("capture", "grpc"), ("embedded", "rest"), ("capture", "rest"), ("keras_app", "rest")]
    return [("canned", "grpc"), *rows] if batch == 1 else rows


def _load(name: str, api: str, files: dict[str, Path], count: int, seconds: float) -> Load:
    if name == "keras_app":
        return Load(api, bodies.APP_METHOD, files["app"], count, seconds)
    return Load(api, bodies.METHODS[api], files[api], count, seconds)


def _model_server(place: Place, base: Path) -> contextlib.AbstractContextManager[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [f"--port={port}", "--model_name=taxi", f"--model_base_path={base}"]
    addresses = {"grpc": f"127.0.0.1:{port}"}
    return running("serving.model_server.main", flags, place.folder / "model_server.log", addresses=addresses)


def _answer(server: Server, body: Path) -> bytes:
    import grpc

    with grpc.insecure_channel(server.addresses["grpc"]) as channel:
        answer: bytes = channel.unary_unary(bodies.METHODS["grpc"])(body.read_bytes(), timeout=60)
    return answer


def _version(server: Server, body: Path) -> int:
    from serving import messages

    return int(messages.PREDICT.response.FromString(_answer(server, body)).model_spec.version.value)


def _no_failures(answers: Answers, who: str) -> None:
    if answers.failures:
        raise CommandFailed(f"{who} must answer every request. Got {answers.failures[:3]} among its answers")


def _medians(rounds: list[Answers]) -> dict[str, Any]:
    each = [answers.figures() for answers in rounds]
    return {name: median([row[name] for row in each]) for name in each[0]} | {"qps_each": [row["qps"] for row in each]}


def _count_captured(folder: Path) -> int:
    from serving.capture.reader import CaptureLog

    return len({captured.metadata.capture.request_id for captured in CaptureLog(folder).read()})
