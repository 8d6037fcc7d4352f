"""One question to one server: sent, sent again where that helps, and answered or failed in words."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from schema.errors import UsageError
from serving.client.calls import Call
from serving.client.errors import CallFailed, SendFailed
from serving.client.retry import RETRIED, Retry
from serving.client.senders import Headers, Sender
from serving.model_server.errors import Code

T = TypeVar("T")

_HINTS = {
    Code.UNAVAILABLE: "is the server running, and is this its address? `conveyor serve LINE` starts one",
    Code.UNAUTHENTICATED: "give a token that the server knows",
    Code.PERMISSION_DENIED: "give a token with the role that this needs",
    Code.NOT_FOUND: "is the model's name right, and is that version loaded?",
}


@dataclasses.dataclass(frozen=True)
class Again:
    """A request that failed and is sent again.

    Attributes:
        code: how it failed.
        message: the server's own words, or the transport's.
        attempt: how many times it was sent.
        seconds: how long it waits now.
    """

    code: Code
    message: str
    attempt: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Options:
    """How a client asks.

    Attributes:
        where: the server and the model, for messages.
        batch_rows: rows a request, at most.
        in_flight: requests under way at a time, at most (asynchronous client).
        deadline_seconds: how long a call may take, retries and all batches included.
        retry: when a request is sent again.
        token: bearer token. Not part of repr.
        on_retry: is told of each request that is sent again.
    """

    where: str
    batch_rows: int = 1000
    in_flight: int = 4
    deadline_seconds: float = 60.0
    retry: Retry = Retry()
    token: str | None = dataclasses.field(default=None, repr=False)
    on_retry: Callable[[Again], None] | None = None

    def __post_init__(self) -> None:
        for name in ("batch_rows", "in_flight", "deadline_seconds"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} must be more than 0. Got {getattr(self, name)} instead")


class Caller:
    """Asks one server.

    Args:
        sender: the transport.
        options: how to ask.
    """

    def __init__(self, sender: Sender, options: Options) -> None:
        self.options = options
        self._sender = sender
        self._chance = random.Random(options.retry.seed)

    def ends(self) -> float:
        """Returns when a call that starts now must be over, by the monotonic clock."""
        return time.monotonic() + self.options.deadline_seconds

    async def close(self) -> None:
        """Closes connections."""
        await self._sender.close()

    async def ask(self, call: Call, ends: float, request_id: str = "", key: str | None = None) -> bytes:
        """Sends a request until it is answered, or it is no use any more.

        Args:
            call: the request.
            ends: when it must be answered, by the monotonic clock.
            request_id: sent as `x-request-id`; empty for none.
            key: the caller's own key, sent as `x-caller-key`.

        Returns:
            The answer's body.

        Raises:
            CallFailed: it was not answered, or with an error.
        """
        headers: Headers = [("x-request-id", request_id)] if request_id else []
        if key is not None:
            headers.append(("x-caller-key", key))
        if self.options.token is not None:
            headers.append(("authorization", f"Bearer {self.options.token}"))
        waits = self.options.retry.waits(self._chance)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._sender.send(call, max(ends - time.monotonic(), 0.001), headers)
            except SendFailed as error:
                seconds = next(waits, None) if error.code in RETRIED and not error.final else None
                if seconds is not None:
                    seconds = max(seconds, error.retry_after or 0.0)
                late = seconds is not None and time.monotonic() + seconds >= ends
                if seconds is None or late:
                    raise self._failed(error, request_id, attempt, late) from None
                if self.options.on_retry is not None:
                    self.options.on_retry(Again(error.code, error.message, attempt, seconds))
                await self._sender.sleep(seconds)

    async def all(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """Does jobs, several at a time where the sender can, and returns their results in order."""
        if not self._sender.concurrent:
            return [await job() for job in jobs]
        import asyncio  # here, for it is a quarter of what importing a client takes

        room = asyncio.Semaphore(self.options.in_flight)

        async def one(job: Callable[[], Coroutine[Any, Any, T]]) -> T:
            async with room:
                return await job()

        tasks = [asyncio.ensure_future(one(job)) for job in jobs]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def read(self, read: Callable[[bytes], T], body: bytes, request_id: str = "") -> T:
        """Reads an answer's body.

        Raises:
            CallFailed: `read` raised ValueError: it is no such answer.
        """
        try:
            return read(body)
        except ValueError as error:
            raise CallFailed(
                Code.INTERNAL,
                f"an answer that cannot be read ({error})",
                where=self.options.where,
                request_id=request_id,
                hint="is it a model server that listens there, and is it this API?",
            ) from None

    def _failed(self, error: SendFailed, request_id: str, attempts: int, late: bool) -> CallFailed:
        hint = _HINTS.get(error.code, "")
        if late or error.code == Code.DEADLINE_EXCEEDED:
            hint = f"the deadline is {self.options.deadline_seconds:g} s; give it more time, or smaller batches"
        elif error.final and error.code == Code.RESOURCE_EXHAUSTED:
            hint = f"give it smaller batches (now at most {self.options.batch_rows} rows)"
        return CallFailed(
            error.code,
            error.message,
            where=self.options.where,
            request_id=request_id,
            attempts=attempts,
            hint=hint,
        )
