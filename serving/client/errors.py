"""What can go wrong when a model server is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from schema.errors import ConveyorError, DataRejected
from serving.model_server.errors import Code

SHOWN = 20
"""So many problems are told in a message, at most."""


class CallFailed(ConveyorError):
    """A model server did not answer, or answered with an error.

    Attributes:
        code: the canonical code.
        message: the server's own words, or the transport's where no server answered.
        request_id: the id that was sent as `x-request-id`; empty where none was.
        attempts: how many times the request was sent.
    """

    def __init__(
        self, code: Code, message: str, *, where: str, request_id: str = "", attempts: int = 1, hint: str = ""
    ) -> None:
        times = "" if attempts == 1 else f" (tried {attempts} times)"
        named = f" [request id {request_id}]" if request_id else ""
        super().__init__(f"{where} must answer. Got {code.name}: {message}{times}{named} instead", hint=hint)
        self.code = code
        self.message = message
        self.request_id = request_id
        self.attempts = attempts


class SendFailed(Exception):
    """One attempt to send a request failed.

    Attributes:
        code: the canonical code.
        message: the server's own words, or the transport's.
        retry_after: seconds that the server asks to wait, or None.
        final: whether it is no use to send the same request again, whatever the code.
    """

    def __init__(self, code: Code, message: str, *, retry_after: float | None = None, final: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.final = final


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """A value, or a row, that does not fit the model.

    Attributes:
        row: the row's position in what was given, counted from 0.
        column: the column at fault, or None.
        reason: a sentence: what was expected, and what was got.
    """

    row: int
    column: str | None
    reason: str


class BadRows(DataRejected):
    """Rows do not fit the model; nothing was sent.

    Attributes:
        problems: what is wrong, by row.
    """

    def __init__(self, problems: Sequence[Problem], total: int) -> None:
        self.problems = tuple(problems)
        rows = len({problem.row for problem in problems})
        shown = "".join(
            f"\n  {problem.reason}" if total == 1 else f"\n  row {problem.row}: {problem.reason}"
            for problem in self.problems[:SHOWN]
        )
        more = f"\n  and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
        count = "the row" if total == 1 else f"{rows} of {total} rows (the first is row 0)"
        super().__init__(f"rows must fit the model. Got something else in {count}:{shown}{more}")
