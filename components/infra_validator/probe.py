"""The probe: a process of its own that loads a candidate as TensorFlow Serving does and asks it.

`python -m components.infra_validator.probe REQUEST RESULT`. It imports TensorFlow and nothing else that is heavy: the
server has no more either, so a model that needs more cannot be served. The two arguments are paths of JSON files; the
request is read when a line comes on standard input, and when that ends instead, so does the process.

The request:

    model_dir: the SavedModel.
    task: the line's task, or null.
    examples: serialized tf.Examples, base64, to ask it with.
    expected: output name to list, what the Trainer got for `examples`; empty to leave that check out.
    example_files: TFRecords of tf.Examples (GZIP when they end in .gz), read in this order when `examples` is empty.
    num_examples: how many to ask with.
    p99_latency_ms: the budget.
    calls: how many single-row calls are timed.
    timeout_seconds: the process ends itself a little after that, should nobody be left to kill it.

The result: `checks` (a list of `name`, `ok`, `detail`), `latency` and `seconds`.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from components.infra_validator import checks
from components.infra_validator.checks import Check
from components.infra_validator.rows import raw_columns
from schema.errors import ConveyorError
from serving.model_server.warm_up import FILE as WARM_UP_FILE
from serving.model_server.warm_up import replay
from serving.v1_loader import V1Model

# What `import tensorflow` looks for and does without. A server has none of it, and without it the import takes 2.0 s
# where it took 3.9 s (TensorFlow 2.16).
UNNEEDED = ("keras", "tf_keras", "h5py", "scipy", "pandas", "sklearn", "IPython", "googleapiclient", "oauth2client")
ALL_IMPORTS = "--all-imports"

WARM_UP_CALLS = 20
ORPHAN_SECONDS = 30
IMPORT_SECONDS = 600

REQUIRED = ("serving_default", "serving_raw", "transform_features")
PREDICTIONS = ("serving_default", "serving_raw", "classify", "regress")


def main(arguments: list[str]) -> int:
    """Probes the model that the request names and writes the result."""
    started = time.monotonic()
    _say("importing tensorflow")
    signal.alarm(IMPORT_SECONDS)
    _import_tensorflow(arguments)
    signal.alarm(0)
    seconds = {"import": time.monotonic() - started}
    if not sys.stdin.readline():
        return 0  # Nobody is left to ask.
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    signal.alarm(int(request["timeout_seconds"]) + ORPHAN_SECONDS)
    started = time.monotonic()
    result = Probe(request, seconds).run()
    seconds["probe"] = time.monotonic() - started
    temporary = Path(arguments[1] + ".tmp")
    temporary.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    os.replace(temporary, arguments[1])
    return 0


def _import_tensorflow(arguments: list[str]) -> None:
    if ALL_IMPORTS not in arguments:
        for name in UNNEEDED:
            sys.modules[name] = None  # type: ignore[assignment]
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        if ALL_IMPORTS in arguments:
            raise
        # A TensorFlow that needs one of them after all: start over, for a half-done import cannot be repeated.
        os.execv(sys.executable, [sys.executable, "-m", "components.infra_validator.probe", *arguments, ALL_IMPORTS])


def _say(step: str) -> None:
    # When the process crashes or hangs, this is what tells where.
    print(f"probe: {step}", file=sys.stderr, flush=True)


class Probe:
    """One candidate's examination."""

    def __init__(self, request: dict[str, Any], seconds: dict[str, float]) -> None:
        self._request = request
        self._seconds = seconds
        self._checks: list[Check] = []
        self._latency: dict[str, Any] = {}
        self._examples: list[bytes] = []
        self._answers: dict[str, dict[str, np.ndarray]] = {}

    def run(self) -> dict[str, Any]:
        """Returns the result. An exception that the model raises is a failed check; later ones are left out."""
        steps = (
            ("load", self._load),
            ("signatures", self._required),
            ("requests", self._ask),
            ("warm-up", self._warm_up),
            ("batch of 1", self._single_rows),
            ("agreement", self._agreement),
            ("trainer", self._expected),
            ("latency", self._time),
        )
        for name, step in steps:
            _say(name)
            started = time.monotonic()
            before = len(self._checks)
            try:
                step()
            except ConveyorError as error:
                self._add(name, False, str(error.args[0]))
            except Exception as error:  # Whatever TensorFlow raises, the server would have raised it to a client.
                self._add(name, False, f"{type(error).__name__}: {error}")
            self._seconds[name] = time.monotonic() - started
            if not all(check.ok for check in self._checks[before:]) and name in ("load", "signatures", "requests"):
                break
        return {
            "checks": [dataclasses.asdict(check) for check in self._checks],
            "latency": self._latency,
            "seconds": self._seconds,
        }

    def _add(self, name: str, ok: bool, detail: str) -> None:
        self._checks.append(Check(name, ok, detail))

    def _load(self) -> None:
        self._model = V1Model(self._request["model_dir"])
        self._add("load", True, f"the v1 loader takes it; signatures {', '.join(self._model.signatures)}")

    def _required(self) -> None:
        missing = [name for name in REQUIRED if name not in self._model.signatures]
        if not {"classify", "regress"} & set(self._model.signatures):
            missing.append("classify or regress")
        self._add("signatures", not missing, f"missing: {', '.join(missing)}" if missing else "all are there")

    def _warm_up(self) -> None:
        path = Path(self._request["model_dir"]) / WARM_UP_FILE
        if not path.is_file():
            self._add("warm-up", True, "the model brings no warm-up file")
            return
        self._add("warm-up", True, f"{replay(path, self._model)} requests replayed")

    def _ask(self) -> None:
        self._examples = self._canned()
        rows = len(self._examples)
        signatures = self._model.signatures
        # With more inputs it is none that this project exports, and nobody knows what to send.
        names = [name for name in signatures if name == "serving_raw" or len(signatures[name].inputs) == 1]
        # The first request of a signature makes TensorFlow optimize its graph, a fifth of a second on one core.
        with ThreadPoolExecutor() as pool:
            answers = list(pool.map(lambda name: self._asked(name, self._examples), names))
        self._answers = dict(zip(names, answers, strict=True))
        for name, outputs in self._answers.items():
            self._checks.append(checks.declared(name, outputs, signatures[name].outputs, rows))
            if name in PREDICTIONS:
                self._checks.append(checks.finite(name, outputs))
        self._checks.append(checks.prediction(self._answers["serving_default"], self._request.get("task")))

    def _asked(self, name: str, examples: list[bytes]) -> dict[str, np.ndarray]:
        signature = self._model.signatures[name]
        if name != "serving_raw":
            return self._model(name, {next(iter(signature.inputs)): np.array(examples, dtype=object)})
        # With defaults a client may leave missing columns out; without, they are sent as the missing marker.
        return self._model(name, raw_columns(examples, signature.inputs, leave_out=set(signature.defaults)))

    def _canned(self) -> list[bytes]:
        wanted = int(self._request["num_examples"])
        examples = [base64.b64decode(text) for text in self._request["examples"][:wanted]]
        origin = "of the Trainer's"
        if not examples:
            examples = list(_records(self._request["example_files"], wanted))
            origin = "from the eval split"
        if not examples:
            # Every column missing is a request that a client may send, and the one that needs no data.
            examples = [b"", b""]
            origin = "without any column, there being no other"
        self._add("requests", True, f"{len(examples)} rows {origin}")
        return examples

    def _single_rows(self) -> None:
        for name in self._answers:
            singles = [self._asked(name, [example]) for example in self._examples]
            joined = {key: np.concatenate([single[key] for single in singles]) for key in singles[0]}
            title = f"{name}: batch of 1 equals batch of {len(self._examples)}"
            self._checks.append(checks.equality(title, joined, self._answers[name]))

    def _agreement(self) -> None:
        default = self._answers["serving_default"]
        title = "serving_raw equals serving_default"
        self._checks.append(checks.equality(title, self._answers["serving_raw"], default))
        pairs = {"classify": {"scores": "probabilities", "classes": "classes"}, "regress": {"outputs": "predictions"}}
        for name, names in pairs.items():
            if name in self._answers:
                expected = {ours: default[theirs] for ours, theirs in names.items() if theirs in default}
                if name == "regress" and "predictions" not in default:
                    continue
                self._checks.append(checks.equality(f"{name} equals serving_default", self._answers[name], expected))

    def _expected(self) -> None:
        expected = self._request["expected"]
        if not expected or not self._request["examples"]:
            self._add("equals the Trainer's predictions", True, "the Trainer left none to compare with")
            return
        default = self._answers["serving_default"]
        known = {
            key: np.array(value[: len(self._examples)], dtype=None if default[key].dtype == object else np.float64)
            for key, value in expected.items()
            if key in default
        }
        if not known:
            detail = f"the Trainer's outputs {sorted(expected)} are none of {sorted(default)}"
            self._add("equals the Trainer's predictions", False, detail)
            return
        self._checks.append(checks.equality("equals the Trainer's predictions", default, known))

    def _time(self) -> None:
        name = "serving_raw"
        inputs = self._model.signatures[name].inputs
        calls, budget = int(self._request["calls"]), float(self._request["p99_latency_ms"])
        rows = [raw_columns([example], inputs) for example in self._examples]
        for call in range(min(WARM_UP_CALLS, calls)):
            self._model(name, rows[call % len(rows)])
        samples: list[float] = []
        while len(samples) < calls and not checks.hopeless(samples, calls, budget):
            row = rows[len(samples) % len(rows)]
            started = time.perf_counter()
            self._model(name, row)
            samples.append((time.perf_counter() - started) * 1000)
        self._checks.append(checks.latency(name, samples, budget))
        self._latency = {
            "signature": name,
            "calls": len(samples),
            "p50_ms": checks.percentile(samples, 0.5),
            "p99_ms": checks.percentile(samples, 0.99),
            "budget_ms": budget,
        }


def _records(files: list[str], wanted: int) -> Iterator[bytes]:
    import tensorflow as tf

    for file in files:
        if wanted <= 0:
            return
        records = tf.data.TFRecordDataset(file, compression_type="GZIP" if file.endswith(".gz") else "")
        for record in records.take(wanted).as_numpy_iterator():
            wanted -= 1
            yield record


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # The result is on disk; taking TensorFlow down in order takes half a second more.
