"""A process that captures until it is killed. Arguments: the folder, and how many requests it captures at first.

It says `safe N` a second after the N-th, and then `put N` as it goes on, as fast as the queue takes them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from schema.serving import CaptureConfig
from serving.capture.hook import CaptureHook
from tests.serving.capture.exchanges import exchange, fill


def main(root: Path, count: int) -> None:
    """Captures for ever."""
    hook = CaptureHook(root, "taxi", CaptureConfig(queue_records=1_000_000, max_file_bytes=100_000))
    hook.start()
    fill(hook, count)
    time.sleep(1.0)
    print(f"safe {count}", flush=True)
    number = count
    while True:
        hook.done(exchange(number))
        number += 1
        if number % 100 == 0:
            print(f"put {number}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
