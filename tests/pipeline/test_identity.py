"""The difference between the sources and their commit, as a rebuild needs it."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from pipeline.identity import code_diff, provenance


def git(folder: Path, *args: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "old.py").write_text("a = 1\n")
    (folder / "blob.bin").write_bytes(bytes(range(256)))
    (folder / ".gitignore").write_text("ignored.py\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_clean_checkout_has_no_difference(checkout: Path) -> None:
    assert code_diff(checkout) == b""
    found = provenance(checkout)
    assert (found.git_dirty, found.git_diff_sha256) == (False, None)
    assert found.git_commit == git(checkout, "rev-parse", "HEAD").strip()


def test_the_difference_gives_the_sources_back(checkout: Path, tmp_path: Path) -> None:
    (checkout / "package" / "old.py").write_text("a = 2\n")
    (checkout / "package" / "staged.py").write_text("b = 1\n")
    git(checkout, "add", "package/staged.py")
    (checkout / "package" / "staged.py").write_text("b = 2\n")
    (checkout / "package" / "new one.py").write_text("c = 1\n")
    (checkout / "blob.bin").write_bytes(bytes(reversed(range(256))))
    (checkout / "ignored.py").write_text("no source\n")
    (checkout / "table.csv").write_text("data, not code\n")
    before = git(checkout, "status", "--porcelain")
    diff = code_diff(checkout)
    assert diff is not None
    assert git(checkout, "status", "--porcelain") == before, "the checkout and its index stay as they are"
    assert provenance(checkout).git_diff_sha256 == hashlib.sha256(diff).hexdigest()
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "-q", str(checkout), str(other)], check=True)
    subprocess.run(["git", "apply", "--binary"], input=diff, cwd=other, check=True)
    there = {
        path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file() and ".git/" not in str(path)
    }
    assert there == {".gitignore", "blob.bin", "package/old.py", "package/staged.py", "package/new one.py"}
    for name in there:
        assert (other / name).read_bytes() == (checkout / name).read_bytes(), name


def test_no_checkout_has_none(tmp_path: Path) -> None:
    assert provenance(tmp_path).git_commit is None
