"""Collections that end in the middle. As a program: `conveyor gc`, which kills itself at a step.

python -m tests.pipeline.garbage.dying STEP before|after LINE
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from conveyor.cli import main
from pipeline.garbage import metadata, sweep


@contextlib.contextmanager
def dying(step: int, when: str, die: Callable[[], None]) -> Iterator[None]:
    """Lets a collection die.

    Args:
        step: the step, from 0: a change of states in ML Metadata, a rename or the removal of the trash.
        when: `before` it is done (of the trash, half is removed by then) or `after`.
        die: does not return.
    """
    left = step
    rmtree = shutil.rmtree

    def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1 and when == "before":
                for path in sorted(Path(args[0]).rglob("*"))[::2] if function is rmtree else ():
                    if path.is_file():
                        path.unlink()
                die()
            result = function(*args, **kwargs)
            if left == -1:
                die()
            return result

        return stepped

    with (
        mock.patch.object(sweep, "set_state", stepping(metadata.set_state)),
        mock.patch.object(os, "rename", stepping(os.rename)),
        mock.patch.object(shutil, "rmtree", stepping(rmtree)),
    ):
        yield


if __name__ == "__main__":
    with dying(int(sys.argv[1]), sys.argv[2], lambda: os.kill(os.getpid(), signal.SIGKILL)):
        sys.exit(main(["gc", sys.argv[3]]))
