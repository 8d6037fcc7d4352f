"""Whether the columns that capture must not keep are columns at all: a misspelt one would be kept in full."""

from __future__ import annotations

from pathlib import Path

from schema.complaints import did_you_mean
from schema.errors import ConfigError
from schema.serving import CaptureConfig
from serving.client.rules import read_rules


def check_redacted_columns(capture: CaptureConfig, schema: Path, config: Path) -> None:
    """Checks `leave_out` and `hash` against the curated schema.

    Args:
        capture: the line's `serving.capture`.
        schema: the curated schema; where there is no such file yet, nothing can be said.
        config: the line config, for the message.

    Raises:
        ConfigError: a name is not a column, or the schema cannot be read.
    """
    if not (capture.leave_out or capture.hash) or not schema.is_file():
        return
    columns = read_rules(schema)
    for key, names in (("leave_out", capture.leave_out), ("hash", capture.hash)):
        for name in names:
            if name not in columns:
                raise ConfigError(
                    f"{config}: serving.capture.{key} must name columns of the curated schema {schema}. "
                    f"Got {name!r} instead{did_you_mean(name, columns)}",
                    hint="correct the name, or remove it: a column of another name would be kept in full",
                )
