"""The exceptions that Conveyor raises on purpose, each with the exit code it leads to.

Every message says what was wrong and where, what was expected, what was got and what to do next, so that
the command line can print it as it is and never needs a stack trace.
"""

from __future__ import annotations


class ConveyorError(Exception):
    """Base of every error that a user can cause or mend.

    Attributes:
        exit_code: the process exit code of the command line for this error.
        hint: what to do next, or an empty string.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  next: {self.hint}" if self.hint else message


class UsageError(ConveyorError):
    """A command was called in a way that cannot work."""

    exit_code = 2


class ConfigError(UsageError):
    """A line config is not valid, or does not fit its data."""


class SpanError(ConfigError):
    """Input spans are missing, have a gap, or cannot be told apart."""


class LineBusy(ConveyorError):
    """Another run holds the line."""


class DataRejected(ConveyorError):
    """The data did not pass its gate; nothing downstream may use it."""

    exit_code = 4


class ReleaseError(ConveyorError):
    """The release ledger or a pushed model does not allow what was asked."""


class SubmissionError(ConveyorError):
    """A service that a pipeline is submitted to cannot be reached, or refuses."""


class MetadataError(ConveyorError):
    """ML Metadata cannot be reached or used."""


class RunnerError(ConveyorError):
    """The engine that Beam pipelines are handed to cannot be reached or used."""
