"""What the services and the steps' machines can take, held against a compiled spec.

Documented are the argument of a process (execve(2): 128 KiB on Linux, the whole executor input being one argument),
etcd's request (1.5 MiB by default, which is where Kubeflow keeps a run's Workflow), the 63 characters of a label (64 by
Vertex's reference, 63 by Google Cloud's) and the 64 labels of a resource. A job's id (128 characters) is never longer,
by how it is made. Not documented is the size of a PipelineJob: Vertex's quotas do not name it, and the limit here is
the 4 MB that gRPC services take by default, which is cautious. KFP makes a Workflow of a spec, of about three times its
size by a report in its tracker (kubeflow/pipelines#13738).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from schema.errors import ConfigError
from schema.orchestration import Target

ARGUMENT_BYTES = 131072
# What the service adds to the parameters: names and paths of artifacts, for at most a dozen of them.
ARGUMENT_RESERVE = 16384
VERTEX_REQUEST_BYTES = 4_000_000
ETCD_REQUEST_BYTES = 1_572_864
WORKFLOW_FACTOR = 3
LABELS = 64
LABEL_CHARACTERS = 63

_WINDOW_HINT = (
    "train on fewer spans (examples.window), or put a span into fewer files; with orchestration.schedule the window is "
    "found by the run and takes no space"
)


@dataclasses.dataclass(frozen=True)
class Excess:
    """A limit that is exceeded.

    Attributes:
        message: what must be how large, what it is instead, and what takes the space.
        hint: what to do.
    """

    message: str
    hint: str


def check_limits(job: Mapping[str, Any], target: Target, labels: Mapping[str, str] | None = None) -> None:
    """Checks a compiled job against what its target can take.

    Args:
        job: the PipelineJob.
        target: what it is for.
        labels: what is added to its labels when it is submitted.

    Raises:
        ConfigError: it exceeds a limit; all of them are told.
    """
    found = excesses(job, target, labels or {})
    if found:
        lines = "\n".join(f"  {one.message}" for one in found)
        hints = "; ".join(dict.fromkeys(one.hint for one in found))
        raise ConfigError(f"the pipeline spec is too large for {target}:\n{lines}", hint=hints)


def excesses(job: Mapping[str, Any], target: Target, labels: Mapping[str, str]) -> list[Excess]:
    """Returns the limits that a compiled job exceeds.

    Args:
        job: the PipelineJob.
        target: what it is for.
        labels: what is added to its labels.
    """
    spec = job["pipelineSpec"]
    found = []
    size = _size(spec)
    largest = f"the largest parameters are {_largest(spec)}"
    if target == "vertex" and size > VERTEX_REQUEST_BYTES:
        found.append(
            Excess(
                f"a PipelineJob must have at most {VERTEX_REQUEST_BYTES:,} bytes. Got {size:,} instead; {largest}",
                _WINDOW_HINT,
            )
        )
    if target == "kubeflow" and size * WORKFLOW_FACTOR > ETCD_REQUEST_BYTES:
        found.append(
            Excess(
                f"a pipeline spec must have at most {ETCD_REQUEST_BYTES // WORKFLOW_FACTOR:,} bytes, as the Workflow "
                f"that is made of it has about {WORKFLOW_FACTOR} times as many and etcd takes {ETCD_REQUEST_BYTES:,}. "
                f"Got {size:,} instead; {largest}",
                _WINDOW_HINT,
            )
        )
    for name, task in sorted(spec["root"]["dag"]["tasks"].items()):
        given = _argument_bytes(task)
        allowed = ARGUMENT_BYTES - ARGUMENT_RESERVE
        if given > allowed:
            found.append(
                Excess(
                    f"the parameters of {name} must have at most {allowed:,} bytes, since they are one argument of the "
                    f"step's process. Got {given:,} instead; the largest are {_largest(spec, name)}",
                    _WINDOW_HINT,
                )
            )
    whole = {**job.get("labels", {}), **labels}
    if len(whole) > LABELS:
        found.append(Excess(f"a job must have at most {LABELS} labels. Got {len(whole)} instead", "drop some"))
    for key, value in sorted(whole.items()):
        if max(len(key), len(value)) > LABEL_CHARACTERS:
            found.append(
                Excess(
                    f"the label {key} must have at most {LABEL_CHARACTERS} characters, and its value too. Got {value!r}"
                    f" instead",
                    "shorten it",
                )
            )
    return found


def _argument_bytes(task: Mapping[str, Any]) -> int:
    """Returns the size of the executor input as far as it is known. It is JSON, so JSON within it is quoted anew."""
    given = task.get("inputs", {}).get("parameters", {})
    return _size({key: value["runtimeValue"]["constant"] for key, value in given.items()})


def _largest(spec: Mapping[str, Any], only: str | None = None) -> str:
    sizes = []
    for name, task in spec["root"]["dag"]["tasks"].items():
        for key, value in task.get("inputs", {}).get("parameters", {}).items():
            constant = value["runtimeValue"]["constant"]
            if only in (None, name):
                sizes.append((_size(constant), f"{name}.{key}{_spans(key, constant)}"))
    return ", ".join(f"{name} {size:,} bytes" for size, name in sorted(sizes, reverse=True)[:3])


def _spans(key: str, constant: Any) -> str:
    """Returns what a window is made of, in words."""
    if key != "window" or not isinstance(constant, str):
        return ""
    spans = json.loads(constant).get("spans", [])
    return f" ({len(spans):,} spans with {sum(len(span['files']) for span in spans):,} files)"


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
