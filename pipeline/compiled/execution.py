"""Carries out a compiled pipeline here, as a cluster would: each step a process, nothing handed over but files.

What a step is told comes from the job's JSON and from what earlier steps wrote below the pipeline root; nothing of the
process that compiled it is used.
"""

from __future__ import annotations

import dataclasses
import graphlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from data.mounts import as_folder
from pipeline.compiled import handover
from pipeline.compiled.failures import StepFailed, told_failure
from pipeline.events import NodeEvent
from schema import errors

_PLACEHOLDER = re.compile(r"\{\{\$(.*?)\}\}")
_LAST_WORDS = 2000


@dataclasses.dataclass(frozen=True)
class WrittenArtifact:
    """An artifact that a step has made, as far as a record of it goes.

    Attributes:
        mlmd_artifact: its ML Metadata proto.
        type_name: its type.
    """

    mlmd_artifact: Any
    type_name: str

    @property
    def uri(self) -> str:
        """Its path."""
        return str(self.mlmd_artifact.uri)

    @property
    def id(self) -> int:
        """Its id."""
        return int(self.mlmd_artifact.id)


def execute(
    job: Mapping[str, Any],
    run_id: str,
    listener: Callable[[NodeEvent], None],
    *,
    env: Mapping[str, str] | None = None,
    pipeline_root: str | None = None,
    log: Path | None = None,
) -> None:
    """Executes the steps of a PipelineJob, one after another.

    Args:
        job: the job, as `conveyor compile` writes it.
        run_id: becomes the job's name.
        listener: is called when a step starts or ends.
        env: the environment of the steps; this process's unless given.
        pipeline_root: takes the place of the job's own.
        log: gets what the steps print.

    Raises:
        ConveyorError: what the failing step says of itself.
    """
    root = pipeline_root or job["runtimeConfig"]["gcsOutputDirectory"]
    spec = job["pipelineSpec"]
    execution = _Execution(spec, run_id, f"{root}/{spec['pipelineInfo']['name']}/{run_id}", env or os.environ, log)
    for name in task_order(spec["root"]["dag"]["tasks"]):
        listener(NodeEvent(name, "running"))
        started = time.monotonic()
        try:
            outputs = execution.run(name)
        except BaseException as error:
            listener(NodeEvent(name, "failed", time.monotonic() - started, error))
            raise
        listener(NodeEvent(name, "done", time.monotonic() - started, outputs=outputs))


def task_order(tasks: Mapping[str, Any]) -> list[str]:
    """Returns the tasks so that each comes after those that it depends on.

    Raises:
        UsageError: they depend on each other in a circle.
    """
    graph = {}
    for name, task in sorted(tasks.items()):
        inputs = task.get("inputs", {}).get("artifacts", {}).values()
        producers = {entry["taskOutputArtifact"]["producerTask"] for entry in inputs if "taskOutputArtifact" in entry}
        graph[name] = producers | set(task.get("dependentTasks", []))
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        raise errors.UsageError(
            f"the pipeline spec must have no circle of tasks. Got {error.args[1]} instead"
        ) from None


class _Execution:
    def __init__(
        self, spec: Mapping[str, Any], run_id: str, root: str, env: Mapping[str, str], log: Path | None
    ) -> None:
        self._spec = spec
        self._run_id = run_id
        self._root = root
        # `python` of a container is the one with this project in it.
        self._env = {**env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"}
        self._log = log
        self._written: dict[str, dict[str, Any]] = {}

    def run(self, name: str) -> dict[str, list[Any]]:
        task = self._spec["root"]["dag"]["tasks"][name]
        component = self._spec["components"][task["componentRef"]["name"]]
        container = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        folder = f"{self._root}/{name}"
        outputs = self._outputs(name, component, folder)
        executor_input = {
            "inputs": {"parameterValues": self._parameters(task), "artifacts": self._inputs(task)},
            "outputs": {"artifacts": outputs, "outputFile": f"{folder}/{handover.OUTPUT_FILE}"},
        }
        values = {
            "": json.dumps(executor_input),
            ".pipeline_job_name": self._run_id,
            ".pipeline_task_name": name,
        }
        command = [
            _filled(argument, name, values) for argument in (*container.get("command", []), *container.get("args", []))
        ]
        here = Path(as_folder(folder, self._env))
        here.mkdir(parents=True, exist_ok=True)
        self._call(name, command, here)
        written = json.loads((here / handover.OUTPUT_FILE).read_text(encoding="utf-8"))
        self._written[name] = written.get("artifacts", {})
        return self._made(outputs)

    def _call(self, name: str, command: list[str], here: Path) -> None:
        done = subprocess.run(
            command,
            cwd=here,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if self._log is not None:
            with self._log.open("ab") as log:
                log.write(f"== {name}\n".encode() + done.stdout)
        if done.returncode == 0:
            return
        told = told_failure(name, here)
        if told is not None:
            raise told
        words = done.stdout.decode(errors="replace")[-_LAST_WORDS:]
        raise StepFailed(f"{name}: the step's process ended with exit code {done.returncode}. Its last words:\n{words}")

    def _parameters(self, task: Mapping[str, Any]) -> dict[str, Any]:
        given = task.get("inputs", {}).get("parameters", {})
        return {key: value["runtimeValue"]["constant"] for key, value in given.items()}

    def _inputs(self, task: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for key, entry in task.get("inputs", {}).get("artifacts", {}).items():
            source = entry["taskOutputArtifact"]
            found[key] = self._written[source["producerTask"]][source["outputArtifactKey"]]
        return found

    def _outputs(self, name: str, component: Mapping[str, Any], folder: str) -> dict[str, Any]:
        definitions = component.get("outputDefinitions", {}).get("artifacts", {})
        return {
            key: {
                "artifacts": [
                    {
                        "name": f"{self._run_id}/{name}/{key}",
                        "uri": f"{folder}/{key}",
                        "type": definition["artifactType"],
                        "metadata": definition.get("metadata", {}),
                    }
                ]
            }
            for key, definition in definitions.items()
        }

    def _made(self, outputs: Mapping[str, Any]) -> dict[str, list[Any]]:
        made: dict[str, list[Any]] = {}
        for key, value in outputs.items():
            (told,) = value["artifacts"]
            found = handover.take(Path(as_folder(told["uri"], self._env))) or []
            made[key] = [WrittenArtifact(artifact, _title(told["type"])) for artifact in found]
        return made


def _filled(argument: str, name: str, values: Mapping[str, str]) -> str:
    """Returns an argument of a task's command with its placeholders filled in."""

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise StepFailed(f"{name}: the placeholder {match[0]} must be one of those that are known here")
        return values[match[1]]

    return _PLACEHOLDER.sub(fill, argument)


def _title(artifact_type: Mapping[str, str]) -> str:
    """Returns the name of an artifact's type, as TFX has it."""
    title = artifact_type.get("schemaTitle") or yaml.safe_load(artifact_type.get("instanceSchema", "{}")).get("title")
    return str(title or "").removeprefix("tfx.")
