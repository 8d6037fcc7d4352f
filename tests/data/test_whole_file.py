"""Files and folders appear whole or not at all, and nothing is left under temporary names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.whole_file import link, new_folder, remove_leftovers, replace_bytes, replace_text, replacing, scratch_folder

ROOT = Path(__file__).resolve().parents[2]
KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from data.whole_file import new_folder, replacing
with replacing(Path(sys.argv[1]) / "file") as file, new_folder(Path(sys.argv[1]) / "folder") as folder:
    file.write_text("ne")
    (folder / "part").write_text("ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_content_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    replace_text(path, "one é")
    assert path.read_bytes() == "one é".encode()
    replace_bytes(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert list(path.parent.iterdir()) == [path]


def test_until_the_end_a_reader_sees_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # A rename works within one file system only.
    assert _tree(tmp_path) == {"a": "new"}


def test_a_writer_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "\ud800")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "folder") as folder:
        (folder / "part").write_text("ne")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_text() == "old"


def test_a_rename_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_text(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == ["a"]


def test_a_killed_writer_leaves_the_old_content_and_its_leftovers_are_removed(tmp_path: Path) -> None:
    replace_text(tmp_path / "file", "old")
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old"
    assert not (tmp_path / "folder").exists()
    assert len(os.listdir(tmp_path)) == 3
    (tmp_path / ".file.99999999-of-2.tmp").write_text("somebody else's")
    with replacing(tmp_path / "file") as mine, scratch_folder(tmp_path, "scratch") as scratch:
        mine.write_text("new")
        remove_leftovers(tmp_path)
        assert scratch.is_dir()
    assert _tree(tmp_path) == {"file": "new", ".file.99999999-of-2.tmp": "somebody else's"}
    remove_leftovers(tmp_path / "nowhere")


def test_a_new_folder_is_whole_and_the_first_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "a" / "key"
    with new_folder(path) as first:
        (first / "by").write_text("first")
        assert not path.exists()
        with new_folder(path) as second:
            (second / "by").write_text("second")
    assert _tree(tmp_path) == {"a/key/by": "second"}
    assert os.listdir(path.parent) == ["key"]


def test_a_folder_that_cannot_get_its_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a file")
    with pytest.raises(NotADirectoryError), new_folder(tmp_path / "key"):
        pass
    assert _tree(tmp_path) == {"key": "a file"}


def test_a_scratch_folder_is_gone_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), scratch_folder(tmp_path / "a", "work") as folder:
        (folder / "b").mkdir()
        assert "work" in folder.name
        raise RuntimeError
    assert os.listdir(tmp_path / "a") == []


def test_a_link_is_the_same_file_and_may_be_made_again(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "a" / "target"
    source.write_text("x")
    for _ in range(2):
        link(source, target)
        assert target.samefile(source)
        assert os.listdir(target.parent) == ["target"]
    with pytest.raises(FileNotFoundError):
        link(tmp_path / "nothing", target)
    assert os.listdir(target.parent) == ["target"]
    assert target.read_text() == "x"


def test_without_hard_links_it_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links on this file system")

    monkeypatch.setattr("data.whole_file.os.link", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("x")
    link(source, target)
    assert target.read_text() == "x"
    assert not target.samefile(source)
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]
