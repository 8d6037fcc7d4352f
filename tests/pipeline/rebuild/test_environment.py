"""The environment of a run: the lock file's packages, and what differs around it."""

from __future__ import annotations

import copy
import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.identity import provenance
from pipeline.rebuild.environment import find_environment, not_as_locked, surroundings_differences
from pipeline.surroundings import surroundings
from schema.errors import ConveyorError

LOCK = """# made by a tool
alpha-one==1.4.0 \\
    --hash=sha256:00 \\
    --hash=sha256:01
    # via beta
beta[extra]==2.0 ; python_version >= '3.8' \\
    --hash=sha256:02
windows-only==3.0 ; sys_platform == 'win32' \\
    --hash=sha256:03
"""


def test_what_is_not_installed_as_locked_is_named() -> None:
    assert not_as_locked(LOCK, {"alpha-one": "1.4.0", "beta": "2.0"}) == []
    assert not_as_locked(LOCK, {"alpha-one": "1.4.1"}) == [
        "alpha-one 1.4.0 is locked, 1.4.1 installed",
        "beta 2.0 is locked, none installed",
    ]


def test_the_present_environment_is_that_of_the_present_lock_file() -> None:
    from pipeline.code_digest import PROJECT_ROOT
    from pipeline.identity import lock_file

    lock = lock_file(PROJECT_ROOT, provenance().libraries["tfx"])
    from pipeline.surroundings import installed_packages

    assert not_as_locked(lock.read_text(), installed_packages(sys.path)) == []


class TestFound:
    """Which environment a rebuild gets."""

    def code(self, folder: Path, lock: str) -> dict[str, Any]:
        (folder / "requirements").mkdir()
        (folder / "requirements" / "tfx-1.16.txt").write_text(lock)
        python = ".".join(map(str, sys.version_info[:3]))
        digest = hashlib.sha256(lock.encode()).hexdigest()
        return {"libraries": {"tfx": "1.16.0"}, "lock_sha256": digest, "python": python}

    def test_the_present_one_when_it_has_each_package(self, tmp_path: Path) -> None:
        import click

        known = self.code(tmp_path, f"click=={getattr(click, '__version__', '')}\n")
        found = find_environment(known, tmp_path, present=False)
        assert found.python == sys.executable and "has each package" in found.how

    def test_a_lock_file_that_is_another_one(self, tmp_path: Path) -> None:
        known = self.code(tmp_path, "")
        known["lock_sha256"] = "0" * 64
        with pytest.raises(ConveyorError, match="it is not the lock file of the run"):
            find_environment(known, tmp_path, present=False)
        assert find_environment(known, tmp_path, present=True).python == sys.executable

    def test_one_that_cannot_be_made(self, tmp_path: Path) -> None:
        known = self.code(tmp_path, "no-such-package==1.0\n")
        with pytest.raises(ConveyorError, match="an environment must be made .* TFX 1.16. Got exit code 2"):
            find_environment(known, tmp_path, present=False)


def test_each_kind_of_difference_is_named() -> None:
    before = surroundings({"OMP_NUM_THREADS": "1"})
    assert surroundings_differences(before, copy.deepcopy(before)) == []
    now = copy.deepcopy(before)
    now["packages"] = {**before["packages"], "numpy": "0.1", "extra": "1.0"}
    now["variables"] = {}
    now["python"] = "2.7"
    now["processor"] = {"model": "Abacus", "machine": "wood", "cores": 99, "features": ["avx999"]}
    now["gpus"] = ["Tesla"]
    said = "\n".join(surroundings_differences(before, now))
    for word in (
        f"package numpy: {before['packages']['numpy']} -> 0.1",
        "package extra: absent -> 1.0",
        "variable OMP_NUM_THREADS: '1' -> None",
        "Python: ",
        "processor model: ",
        "processor cores: ",
        "processor with avx999",
        "GPUs: none -> Tesla",
    ):
        assert word in said
    assert surroundings_differences({}, now) == ["what the run had around it was not kept"]
