"""Request ids: one for every request, by which its record is found again."""

from __future__ import annotations

import itertools
import os
import re
import time

HEADER = "x-request-id"
CALLER_KEY_HEADER = "x-caller-key"

_TAKEN = re.compile(r"[\x21-\x7e]{1,128}")


class RequestIds:
    """Mints ids that no other server mints, in the order of their minting within one server. Thread-safe."""

    def __init__(self) -> None:
        self._start = f"{int(time.time()):08x}-{os.urandom(6).hex()}-"
        self._next = itertools.count(1).__next__

    def of(self, given: str | None) -> str:
        """Returns the caller's id where it gives one that can be stored and searched for, else a new one.

        Args:
            given: what the caller sent, of any content; 1 to 128 printable ASCII characters without blanks are taken.
        """
        if given and _TAKEN.fullmatch(given):
            return given
        return f"{self._start}{self._next():08x}"
