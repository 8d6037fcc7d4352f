"""A spec that is too large is told with what takes the space, before a service or a process refuses it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pipeline.compiled import limits
from pipeline.compiled.limits import check_limits, excesses
from schema.errors import ConfigError


def window(spans: int) -> str:
    file = {"path": "/gcs/bucket/table.csv", "sha256": "0" * 64, "bytes": 1}
    return json.dumps({"format": "csv", "spans": [{"span": n, "files": [file, file]} for n in range(spans)]})


def job(*, labels: dict[str, str] | None = None, **parameters: Any) -> dict[str, Any]:
    given = {key: {"runtimeValue": {"constant": value}} for key, value in parameters.items()}
    tasks = {"SpanExampleGen": {"inputs": {"parameters": given}}, "Trainer": {}}
    return {"labels": labels or {}, "pipelineSpec": {"root": {"dag": {"tasks": tasks}}}}


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_a_small_spec_passes(target: Any) -> None:
    check_limits(job(window=window(20), config="{}"), target, {"conveyor-line": "taxi"})


def test_a_long_window_is_named_with_its_spans() -> None:
    with pytest.raises(ConfigError) as raised:
        check_limits(job(window=window(1000), config="{}"), "vertex")
    told = str(raised.value)
    assert "the parameters of SpanExampleGen must have at most 114,688 bytes" in told
    assert "SpanExampleGen.window (1,000 spans with 2,000 files)" in told
    assert "examples.window" in told and "orchestration.schedule" in told


def test_an_argument_of_the_limit_can_be_passed_and_one_above_cannot() -> None:
    def start(size: int) -> int:
        return subprocess.run([sys.executable, "-c", "import sys; sys.exit(7)", "x" * size], check=False).returncode

    # The string's last byte is a zero.
    assert start(limits.ARGUMENT_BYTES - 1) == 7
    with pytest.raises(OSError, match="Argument list too long"):
        start(limits.ARGUMENT_BYTES)


def test_quotes_within_parameters_are_counted_as_they_are_passed() -> None:
    text = '"' * 60_000
    (excess,) = excesses(job(config=text), "vertex", {})
    assert "Got 120,0" in excess.message


@pytest.mark.parametrize(
    ("target", "size", "said"),
    [
        ("vertex", 4_000_001, "a PipelineJob must have at most 4,000,000 bytes"),
        ("kubeflow", 600_000, "a pipeline spec must have at most 524,288 bytes"),
    ],
)
def test_the_whole_spec_has_a_limit(target: Any, size: int, said: str) -> None:
    compiled = job(config="{}")
    check_limits(compiled, target)
    # Somewhere else than in parameters.
    compiled["pipelineSpec"]["deploymentSpec"] = "x" * size
    with pytest.raises(ConfigError, match=said):
        check_limits(compiled, target)


def test_labels() -> None:
    check_limits(job(labels={"a" * 63: "b" * 63}), "vertex")
    with pytest.raises(ConfigError, match="the label key must have at most 63 characters"):
        check_limits(job(), "vertex", {"key": "b" * 64})
    with pytest.raises(ConfigError, match="at most 64 labels. Got 65 instead"):
        check_limits(job(labels={f"k{n}": "" for n in range(64)}), "vertex", {"one": "more"})
