"""The files of a version's folder and their digests, read without following links."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from schema.errors import ReleaseError

SIGNATURE_FILE = "release.dsse.json"
"""The envelope, in the version's folder. TensorFlow Serving passes over files that it does not know."""

_BLOCK = 1 << 20
_ITSELF = os.O_NOFOLLOW | os.O_NONBLOCK


def file_digests(folder: Path) -> dict[str, str]:
    """Returns relative path to SHA-256 (hex) of each file of a version, the envelope left out, in order of path.

    Raises:
        ReleaseError: something in it is neither a file nor a folder, or cannot be read.
    """
    return {name: _digest(path, None) for name, path in sorted(_files(folder))}


def check_files(folder: Path, signed: Mapping[str, str], copy_to: Path | None = None) -> None:
    """Checks that a version has the files that were signed, no other ones, and byte by byte.

    Args:
        folder: the version's folder.
        signed: relative path to SHA-256.
        copy_to: an empty folder that gets a copy of exactly the bytes that were checked.

    Raises:
        ReleaseError: names the first file that differs.
    """
    found = dict(sorted(_files(folder)))
    for name in found:
        if name not in signed:
            raise _refusal(folder / name, "must be one of the files that were signed", "an additional file")
    for name, expected in signed.items():
        if name not in found:
            raise _refusal(folder / name, "must be there, as it was signed", "no such file")
        digest = _digest(found[name], None if copy_to is None else copy_to / name)
        if digest != expected:
            raise _refusal(folder / name, f"must be as it was signed, SHA-256 {expected}", digest)


def open_itself(path: Path) -> BinaryIO:
    """Opens a file to be read: not what a link leads to, and without waiting for the writer of a pipe."""
    return open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | _ITSELF))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    if folder.is_symlink():
        raise _refusal(folder, "must be a folder of a signed release", "a symbolic link")
    todo = [folder]
    while todo:
        current = todo.pop()
        try:
            entries = list(os.scandir(current))
        except OSError as error:
            raise _refusal(current, "must be a folder that can be read", str(error.strerror)) from None
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(folder).as_posix()
            if not name.isprintable():
                raise _refusal(Path(ascii(entry.path)), "must have a name in printable UTF-8", "another one")
            if entry.is_dir(follow_symlinks=False):
                todo.append(path)
            elif not entry.is_file(follow_symlinks=False):
                kind = "a symbolic link" if entry.is_symlink() else "something else"
                raise _refusal(path, "must be a file or a folder of a signed release", kind)
            elif name != SIGNATURE_FILE:
                yield name, path


def _digest(path: Path, copy: Path | None) -> str:
    digest = hashlib.sha256()
    try:
        if copy is not None:
            copy.parent.mkdir(parents=True, exist_ok=True)
        with open_itself(path) as file, open(copy or os.devnull, "wb") as sink:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _refusal(path, "must be a file of a signed release", "something else")
            while block := file.read(_BLOCK):
                digest.update(block)
                if copy is not None:
                    sink.write(block)
    except OSError as error:
        copied = "" if copy is None else f" and copied to {copy}"
        raise _refusal(path, f"must be a file that can be read{copied}", str(error.strerror)) from None
    return digest.hexdigest()


def _refusal(path: Path, wanted: str, got: str) -> ReleaseError:
    return ReleaseError(
        f"{path}: it {wanted}. Got {got} instead",
        hint="restore the version's folder from a backup, put another version back, or run the line again",
    )
