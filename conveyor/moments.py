"""A time as an option of the command line."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Any

import click

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Moment(click.ParamType):
    """A time, in seconds since the epoch: how long ago (`90s`, `30m`, `1h`, `2d`), or ISO 8601 (UTC by default)."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the time, or fails as click wants it."""
        if isinstance(value, float):
            return value
        ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value)
        if ago:
            return time.time() - float(ago[1]) * _UNITS[ago[2]]
        try:
            # Python 3.10 wants an offset in digits, and as many digits of a second as it writes itself.
            digits = re.sub(r"\.(\d{1,6})\d*", lambda fraction: f".{fraction[1]:0<6}", re.sub(r"Z$", "+00:00", value))
            moment = datetime.fromisoformat(digits)
        except ValueError:
            self.fail(f"must be how long ago, e.g. 90s, 30m, 1h, 2d, or ISO 8601. Got {value!r} instead", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
