"""A run's log: what TensorFlow, absl, Beam and TFX have to say goes to a file, and nowhere else."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def quiet_to_file(path: Path, *, secrets: Sequence[str] = ()) -> Iterator[None]:
    """Sends logging, warnings, and whatever native code writes to the standard streams, to `path`.

    Python's own `sys.stdout` and `sys.stderr` go on writing to the terminal through copies of the descriptors, so that
    progress and verdict are seen while C++ libraries are not.

    Args:
        path: the log file; it is appended to.
        secrets: texts that are masked wherever a log record holds them (TFX logs its connection config).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(path.open("a", encoding="utf-8", errors="replace"))
        handler = logging.StreamHandler(log)
        handler.setFormatter(_Masking(secrets))
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        streams = _redirect_descriptors(log.fileno())
        try:
            with warnings.catch_warnings():
                logging.captureWarnings(True)
                _route_absl(handler)
                yield
        finally:
            logging.captureWarnings(False)
            _restore_descriptors(streams)
            root.handlers[:] = before
            root.setLevel(level)


class _Masking(logging.Formatter):
    """Masks secrets in whatever a record comes to, its stack trace too."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        # The longest first: one may be a part of another.
        self._spellings = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for spelling in self._spellings:
            text = text.replace(spelling, "***")
        return text


def _spellings(secret: str) -> set[str]:
    """Returns how a secret may stand in a log: as it is, in JSON, in a repr, in a proto's text; these quoted, too."""
    found = {secret}
    for _ in range(2):
        found |= {quoted[1:-1] for text in found for quoted in (json.dumps(text), repr(text))}
        found |= {_in_proto_text(text) for text in found}
    return found - {""}


def _in_proto_text(text: str) -> str:
    named = {0x0A: r"\n", 0x0D: r"\r", 0x09: r"\t", 0x22: r"\"", 0x27: r"\'", 0x5C: r"\\"}
    return "".join(named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}") for byte in text.encode())


def _route_absl(handler: logging.Handler) -> None:
    # absl installs a handler of its own on the root logger when it is imported; TFX and TensorFlow log through it.
    from absl import logging as absl_logging

    absl_logging.use_absl_handler()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    absl_logging.set_verbosity(absl_logging.INFO)
    root.setLevel(logging.INFO)


def _redirect_descriptors(target: int) -> list[tuple[str, int, Any, Any]]:
    saved = []
    for number, name in ((1, "stdout"), (2, "stderr")):
        original = getattr(sys, name)
        copy = os.dup(number)
        terminal = os.fdopen(os.dup(copy), "w", encoding="utf-8", errors="replace", buffering=1)
        os.dup2(target, number)
        setattr(sys, name, terminal)
        saved.append((name, copy, original, terminal))
    return saved


def _restore_descriptors(saved: list[tuple[str, int, Any, Any]]) -> None:
    for number, (name, copy, original, terminal) in zip((1, 2), saved, strict=True):
        terminal.flush()
        os.dup2(copy, number)
        os.close(copy)
        setattr(sys, name, original)
        terminal.close()
