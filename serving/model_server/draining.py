"""The life of a server as a process: it loads, answers until it is told to stop, finishes what is under way, ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable

GRACE_SECONDS = 30.0
"""How long requests under way may take after SIGTERM."""

_log = logging.getLogger(__name__)


async def serve_until_signal(
    *,
    load: Callable[[], None],
    start: Callable[[], Awaitable[None]],
    stop: Callable[[float], Awaitable[None]],
    grace: float = GRACE_SECONDS,
) -> None:
    """Serves until SIGTERM or SIGINT, then finishes the requests under way. A second signal ends the process at once.

    Args:
        load: loads the models; runs in a thread.
        start: opens the ports; not called when a signal comes while the models are loaded.
        stop: takes no more requests, gives those under way so many seconds, closes the ports and unloads the models. Is
            called whatever happened before, and ends a `load` that still runs.
        grace: the seconds for `stop`.

    Raises:
        Exception: what `load` or `start` raises.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loading = asyncio.create_task(asyncio.to_thread(load))
    signalled = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({loading, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
        if not stopping.is_set():
            # What has been imported stays; to look through it takes a fifth of a second in which nobody is answered.
            gc.collect()
            gc.freeze()
            await start()
            await signalled
            _log.info("Draining: requests under way have %g s", grace)
    finally:
        signalled.cancel()
        await stop(grace)
        # Of a load that was given up nobody wants to know how it ended.
        await asyncio.gather(loading, return_exceptions=True)
