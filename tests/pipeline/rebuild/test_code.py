"""The code of a run: the commit, the stored difference, and each file held against its hash."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.identity import code_diff, provenance
from pipeline.rebuild.code import restore_code, source_differences
from pipeline.snapshot import DIFF_FILE, OWN_FOLDER
from pipeline.sources import Sources
from schema.errors import ConveyorError


def git(folder: Path, *args: str) -> None:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *args]
    subprocess.run(command, check=True, capture_output=True)


class Kept:
    """A run of a checkout with a change that is not committed, and a function of the line's own elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.run, self.target = folder / "checkout", folder / "run", folder / "out" / "code"
        (self.checkout / "components").mkdir(parents=True)
        (self.checkout / "components" / "a.py").write_text("a = 1\n")
        git(self.checkout, "init", "-q")
        git(self.checkout, "add", ".")
        git(self.checkout, "commit", "-qm", "first")
        (self.checkout / "components" / "a.py").write_text("a = 2\n")
        (self.checkout / "components" / "b.py").write_text("b = 1\n")
        own = folder / "mine" / "features.py"
        own.parent.mkdir()
        own.write_text("own = 1\n")
        (self.run / OWN_FOLDER).mkdir(parents=True)
        (self.run / OWN_FOLDER / "features.py").write_bytes(own.read_bytes())
        diff = code_diff(self.checkout)
        assert diff
        (self.run / DIFF_FILE).write_bytes(diff)
        nodes = {
            "Trainer": {
                "components.a": self.checkout / "components" / "a.py",
                "components.b": self.checkout / "components" / "b.py",
                "features": own,
            }
        }
        Sources.of(nodes, self.checkout).write(self.run)
        found = provenance(self.checkout)
        self.provenance: dict[str, Any] = {
            "git_commit": found.git_commit,
            "git_diff_sha256": hashlib.sha256(diff).hexdigest(),
        }
        git(self.checkout, "add", ".")
        git(self.checkout, "commit", "-qm", "second")
        (self.checkout / "components" / "a.py").write_text("a = 3\n")
        own.write_text("own = 2\n")

    def restore(self) -> Any:
        return restore_code(self.provenance, self.run, self.target, self.checkout)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_the_code_comes_back_as_it_was(kept: Kept) -> None:
    code = kept.restore()
    assert (kept.target / "components" / "a.py").read_text() == "a = 2\n"
    assert (kept.target / "components" / "b.py").read_text() == "b = 1\n"
    assert (kept.target.parent / OWN_FOLDER / "features.py").read_text() == "own = 1\n"
    assert code.differences == () and code.how.startswith(f"commit {kept.provenance['git_commit']} with")


def test_present_code_is_held_against_the_run_file_by_file(kept: Kept) -> None:
    (kept.checkout / "components" / "b.py").unlink()
    assert source_differences(kept.run, kept.checkout) == ("components/a.py is another one", "components/b.py is gone")


def test_a_changed_function_of_the_line_is_named(kept: Kept) -> None:
    (kept.run / OWN_FOLDER / "features.py").write_text("own = 9\n")
    (difference,) = kept.restore().differences
    assert difference.endswith("mine/features.py is another one")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda kept: kept.provenance.update(git_commit=None), "must have been made from a git checkout"),
        (lambda kept: kept.provenance.update(git_commit="0" * 40), "commit 0{40} must be in"),
        (lambda kept: (kept.run / DIFF_FILE).unlink(), "code.diff must hold what the sources had"),
        (lambda kept: (kept.run / DIFF_FILE).write_text("x"), "code.diff must have the digest .* somebody changed it"),
    ],
)
def test_code_that_cannot_be_had_is_told(kept: Kept, spoil: Any, said: str) -> None:
    spoil(kept)
    with pytest.raises(ConveyorError, match=said):
        kept.restore()


def test_a_difference_that_does_not_fit_its_commit(kept: Kept) -> None:
    text = (kept.run / DIFF_FILE).read_text().replace("-a = 1", "-a = 7")
    (kept.run / DIFF_FILE).write_text(text)
    kept.provenance["git_diff_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(ConveyorError, match="must fit the commit. Got instead: error: patch failed"):
        kept.restore()
