"""Files and folders that appear whole or not at all.

What is written gets a temporary name next to its own one, and its own one at the end, by rename: a reader sees what
was there before or what is there now and never a part of it, whatever becomes of the writer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.(\d+)-[0-9a-f]{8}\.tmp")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write a file to, which becomes `path` when the block ends well.

    Args:
        path: the file, there already or not; its folder is made.

    Yields:
        A path in the same folder, of which nothing is left when the block fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        # It may be there even when all went well: renaming a hard link to another link of the same file does nothing.
        temporary.unlink(missing_ok=True)


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new one."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def replace_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8 so that a reader sees the old file or the new one."""
    replace_bytes(path, text.encode())


def link(source: Path, target: Path) -> None:
    """Makes `target` a hard link of `source`, or a copy where the file system cannot link."""
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def mark_used(path: Path) -> None:
    """Sets a file's time to now: `conveyor gc` goes by it where nothing else tells that an entry of a store is used."""
    # Its owner may be somebody else; it is then only rebuilt sooner.
    with contextlib.suppress(OSError):
        os.utime(path)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives a folder to fill, which becomes `path` when the block ends well.

    A folder with content cannot be replaced by rename. So if `path` has any by then, it stays as it is and what the
    block made is dropped: for folders whose name says what is in them, where the first writer's will do.

    Args:
        path: the folder; its parent is made.

    Yields:
        A folder next to it, of which nothing is left when the block fails.
    """
    with scratch_folder(path.parent, path.name) as temporary:
        yield temporary
        try:
            os.rename(temporary, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Gives a folder for what is needed during the block only; it is removed at the end.

    Args:
        parent: where it is made; made itself when it is not there.
        name: what the folder's name has in it, for people who find one.
    """
    folder = _temporary(parent / name)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes of this machine left in `folder` under temporary names."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(path.name)
        if match and not _alive(int(match[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
