"""The environment of a run that is rebuilt: the packages of its lock file, and in what the machine differs."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.identity import lock_file
from pipeline.surroundings import installed_packages, package_name
from schema.errors import ConveyorError

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]*))?", re.MULTILINE)

_OTHERWISE = "--present-environment takes what is installed, and names each package that is another one"


@dataclasses.dataclass(frozen=True)
class RebuiltEnvironment:
    """The interpreter that a run is rebuilt with.

    Attributes:
        python: its path.
        how: where it came from, in words.
        differences: in what it is not as it was, a sentence each.
    """

    python: str
    how: str
    differences: tuple[str, ...] = ()


def find_environment(provenance: Mapping[str, Any], code: Path, *, present: bool) -> RebuiltEnvironment:
    """Returns an environment with the packages of the run's lock file, the present one or one made for it.

    Args:
        provenance: the run's provenance.
        code: the run's code, which has its lock file.
        present: take the present environment, whatever it holds.

    Raises:
        ConveyorError: the lock file is another one, or an environment cannot be made from it.
    """
    version = str(provenance["libraries"]["tfx"])
    lock = lock_file(code, version)
    wanted = provenance.get("lock_sha256")
    if present:
        return RebuiltEnvironment(sys.executable, "the present one, as was asked for")
    if wanted is None or not lock.is_file():
        raise ConveyorError(
            f"{lock} must be the lock file of the run. Got none",
            hint=_OTHERWISE,
        )
    content = lock.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise ConveyorError(
            f"{lock} must have the digest {wanted}. Got {found} instead: it is not the lock file of the run",
            hint=_OTHERWISE,
        )
    unlike = not_as_locked(content.decode(), installed_packages(sys.path))
    same_python = platform.python_version_tuple()[:2] == tuple(str(provenance["python"]).split(".")[:2])
    if not unlike and same_python:
        return RebuiltEnvironment(sys.executable, f"the present one, which has each package of the lock file {found}")
    return RebuiltEnvironment(_made(code, version), f"made from the lock file {found}")


def not_as_locked(lock: str, installed: Mapping[str, str]) -> list[str]:
    """Returns what is not installed as a lock file has it, a sentence each.

    Args:
        lock: the lock file's text.
        installed: package name to version.
    """
    found = []
    for name, version, marker in _PINNED.findall(lock):
        if marker and not _applies(marker.strip()):
            continue
        present = installed.get(package_name(name))
        if present is None or present.partition("+")[0] != version.partition("+")[0]:
            found.append(f"{package_name(name)} {version} is locked, {present or 'none'} installed")
    return found


def _applies(marker: str) -> bool:
    from packaging.markers import InvalidMarker, Marker

    try:
        return Marker(marker).evaluate()
    except InvalidMarker:
        return True


def _made(code: Path, version: str) -> str:
    line = ".".join(version.split(".")[:2])
    # Nothing of the present environment may lead the bootstrap to other packages.
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = ["python3", "conveyor/bootstrap.py", "--", "python", "-c", "import sys; print(sys.executable)"]
    done = subprocess.run(
        command, cwd=code, env={**env, "CONVEYOR_TFX": line}, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise ConveyorError(
            f"an environment must be made from the lock file of the run, TFX {line}. Got exit code {done.returncode} "
            f"of {' '.join(command[:2])} instead",
            hint=f"see above. {_OTHERWISE}",
        )
    return lines[-1]


def surroundings_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns in what two runs' surroundings differ, a sentence each.

    Args:
        before: what `pipeline.surroundings.surroundings` gave for the one run; empty where it was not kept.
        now: likewise for the other.
    """
    if not before or not now:
        return ["what the run had around it was not kept"] if not before else ["the rebuild did not say what it ran in"]
    found = [
        f"package {name}: {old or 'absent'} -> {new or 'absent'}"
        for name, old, new in _changed(before["packages"], now["packages"])
        if name != "conveyor-tfx"
    ]
    variables = _changed(before["variables"], now["variables"])
    found += [f"variable {name}: {old!r} -> {new!r}" for name, old, new in variables]
    if before["python"] != now["python"]:
        found.append(f"Python: {before['python']} -> {now['python']}")
    was, present = before["processor"], now["processor"]
    for key in ("model", "machine", "cores"):
        if was[key] != present[key]:
            found.append(f"processor {key}: {was[key]} -> {present[key]}")
    for word, names in (
        ("without", sorted(set(was["features"]) - set(present["features"]))),
        ("with", sorted(set(present["features"]) - set(was["features"]))),
    ):
        if names:
            found.append(f"processor {word} {', '.join(names)}")
    if before["gpus"] != now["gpus"]:
        found.append(f"GPUs: {', '.join(before['gpus']) or 'none'} -> {', '.join(now['gpus']) or 'none'}")
    return found


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    names = sorted({*before, *now})
    return [(name, before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)]
