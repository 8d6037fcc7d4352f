"""Prints a lock file without what only development needs, hashes and all: what is installed into the image.

    python runtime_requirements.py requirements/tfx-1.21.txt > runtime.txt

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

DEVELOPMENT = "-r requirements/development.in"

_ENTRY = re.compile(r"([a-z0-9][a-z0-9._-]*)==")


@dataclass
class Entry:
    """A locked requirement.

    Attributes:
        name: its name, normalized as the lock has it.
        lines: its lines, as they are.
        via: what asks for it: names of others, or `-r FILE`.
    """

    name: str
    lines: list[str] = field(default_factory=list)
    via: set[str] = field(default_factory=set)


def entries(lock: str) -> list[Entry]:
    """Returns the requirements of a lock file that uv has written, with the comments that say why they are there.

    Raises:
        ValueError: a line belongs to no requirement, or nothing says why a requirement is there.
    """
    found: list[Entry] = []
    for number, line in enumerate(lock.splitlines(), 1):
        match = _ENTRY.match(line)
        if match:
            found.append(Entry(match[1]))
        elif not line.strip() or line.startswith("#"):
            continue
        elif not found or not line.startswith(" "):
            raise ValueError(f"line {number} must be part of a requirement. Got {line!r} instead")
        comment = line.strip()
        if comment.startswith("#"):
            reason = comment.lstrip("# ").removeprefix("via").strip()
            found[-1].via |= {reason} if reason else set()
        else:
            found[-1].lines.append(line)
    for entry in found:
        if not entry.via:
            raise ValueError(f"{entry.name} must have a comment `# via`. Make the lock with its annotations")
    return found


def runtime(lock: str) -> str:
    """Returns a lock file without the requirements that nothing but development.in leads to.

    Raises:
        ValueError: it cannot be read; see `entries`.
    """
    locked = entries(lock)
    kept: set[str] = set()
    while True:
        more = {
            entry.name
            for entry in locked
            if entry.name not in kept
            and any(via in kept or (via.startswith("-r ") and via != DEVELOPMENT) for via in entry.via)
        }
        if not more:
            return "".join(f"{line}\n" for entry in locked if entry.name in kept for line in entry.lines)
        kept |= more


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} LOCK_FILE")
    try:
        sys.stdout.write(runtime(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
