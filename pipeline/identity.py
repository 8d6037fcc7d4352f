"""Who a run is: its id, and the versions of code, environment and libraries that it ran with."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import os
import platform
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pipeline.code_digest import PROJECT_ROOT, library_versions

_NEW_SOURCES = ("*.py", "*.pbtxt", "*.yaml", "*.toml", "requirements/*.txt")


def new_run_id(now: datetime.datetime | None = None) -> str:
    """Returns a run id that sorts by time and is unique: `20260131T120000.123456Z-1a2b3c`."""
    moment = now or datetime.datetime.now(datetime.timezone.utc)
    return f"{moment.strftime('%Y%m%dT%H%M%S.%f')}Z-{secrets.token_hex(3)}"


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The code and the environment of a run.

    Attributes:
        git_commit: the commit, or None where the project is not a git checkout.
        git_dirty: whether the sources differ from the commit.
        git_diff_sha256: SHA-256 of that difference (`code_diff`), or None when there is none.
        lock_sha256: SHA-256 of the lock file of the TFX line in use, or None when it cannot be found.
        python: Python's version.
        libraries: library name to version.
    """

    git_commit: str | None
    git_dirty: bool
    git_diff_sha256: str | None
    lock_sha256: str | None
    python: str
    libraries: dict[str, str]


def git(root: Path, *args: str, env: Mapping[str, str] | None = None) -> bytes | None:
    """Returns what a git command prints, or None when it fails or there is no git.

    Args:
        root: the checkout.
        args: the command.
        env: variables to add to the environment.
    """
    variables = {**os.environ, **(env or {})}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, timeout=60, check=False, env=variables
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def code_diff(root: Path) -> bytes | None:
    """Returns the difference between the sources and the commit, for `git apply`; empty when there is none.

    Every tracked file counts, and of those that git does not know yet, what a run may use. An index and a store of
    objects of its own keep the checkout as it is.

    Args:
        root: the checkout.

    Returns:
        The binary diff, or None where git cannot say.
    """
    if git(root, "status", "--porcelain") == b"":
        return b""
    folder = git(root, "rev-parse", "--absolute-git-dir")
    objects = git(root, "rev-parse", "--git-path", "objects")
    new = git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *_NEW_SOURCES)
    if folder is None or objects is None or new is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(Path(folder.decode().strip()) / "index", index)
        env = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": temporary,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / objects.decode().strip()).resolve()),
        }
        names = [os.fsdecode(name) for name in new.split(b"\0") if name]
        for command in (["add", "--update"], ["--literal-pathspecs", "add", "--", *names]):
            if git(root, *command, env=env) is None:
                return None
        return git(root, "diff", "--cached", "--binary", "--no-color", "--no-ext-diff", "HEAD", env=env)


def lock_file(root: Path, tfx_version: str) -> Path:
    """Returns the lock file of the TFX line that `tfx_version` belongs to."""
    return root / "requirements" / f"tfx-{'.'.join(tfx_version.split('.')[:2])}.txt"


def provenance(root: Path = PROJECT_ROOT, diff: bytes | None = None) -> Provenance:
    """Returns what the current process runs with.

    Args:
        root: the checkout, or what stands in its place.
        diff: what `code_diff` gave for it, if that is known already.
    """
    commit = git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    if commit and diff is None:
        diff = code_diff(root)
    libraries = library_versions()
    lock = lock_file(root, libraries["tfx"])
    return Provenance(
        git_commit=commit.decode().strip() if commit else None,
        git_dirty=bool(diff),
        git_diff_sha256=hashlib.sha256(diff).hexdigest() if diff else None,
        lock_sha256=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        python=platform.python_version(),
        libraries=libraries,
    )
