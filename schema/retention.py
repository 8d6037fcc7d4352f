"""Section of a line config about what `conveyor gc` keeps."""

from __future__ import annotations

from pydantic import Field

from schema.base import Section

_MOST_DAYS = 36_500


class RetentionConfig(Section):
    """Retention: what `conveyor gc` keeps. A version that could be live again is always kept with its lineage."""

    runs_days: float = Field(default=30.0, ge=0, le=_MOST_DAYS)
    """Artifacts of runs that ended within so many days are kept, whatever their verdict."""
    keep_runs: int = Field(default=3, ge=1)
    """Artifacts of so many of the newest runs are kept, however old they are."""
    served_days: float = Field(default=90.0, ge=0, le=_MOST_DAYS)
    """The lineage of versions that answered requests within so many days is kept."""
    label_days: float = Field(default=30.0, ge=0, le=_MOST_DAYS)
    """Labels may arrive so many days after a request: the lineage of versions that answered within them is kept."""
