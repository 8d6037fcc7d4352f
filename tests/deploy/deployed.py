"""What deploy/ says, read for the tests."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("dev", "prod")
JOB = KUBERNETES / "jobs" / "conveyor.yaml"
LINE = "taxi"

Document = dict[str, Any]


def documents(file: Path) -> list[Document]:
    """Returns the documents of a YAML file."""
    return [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one is not None]


def program(name: str, how: str) -> str:
    """Returns a program on PATH, or skips the test and says how to get it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH ({how})")
    return found


def output(*arguments: str | Path) -> str:
    """Returns what a command prints; it must succeed."""
    done = subprocess.run([str(one) for one in arguments], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def overlay(name: str) -> list[Document]:
    """Returns the manifests of an overlay as they are applied; not to be changed.

    Skips the test where nothing can build them.
    """
    kubectl = shutil.which("kubectl")
    command = [kubectl, "kustomize"] if kubectl else [program("kustomize", "or kubectl"), "build"]
    return list(yaml.safe_load_all(output(*command, KUBERNETES / "overlays" / name)))


def the(manifests: list[Document], kind: str, name: str | None = None) -> Document:
    """Returns the one manifest of a kind, or of a kind and name."""
    (found,) = (one for one in manifests if one["kind"] == kind and name in (None, one["metadata"]["name"]))
    return found


def pod(workload: Document) -> Document:
    """Returns the pod spec of a Deployment or Job."""
    spec: Document = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Document) -> dict[str, Document]:
    """Returns the containers of a Deployment or Job by name, sidecars included."""
    spec = pod(workload)
    return {one["name"]: one for one in [*spec.get("initContainers", []), *spec["containers"]]}


def expanded(text: str) -> str:
    """Returns a text with the variable that Kubernetes puts into it."""
    return text.replace("$(CONVEYOR_LINE)", LINE)


def compose() -> Document:
    """Returns compose.yaml with its merges done and its defaults filled in."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    for variable, default in (
        ("LINE", LINE),
        ("CONVEYOR_IMAGE", "conveyor:0.1.0"),
        ("CONVEYOR_BIND", "127.0.0.1"),
    ):
        text = text.replace(f"${{{variable}:-{default}}}", default)
    assert "${" not in text, "a variable that the tests and docs/deploy.md do not know"
    read: Document = yaml.safe_load(text)
    return read
