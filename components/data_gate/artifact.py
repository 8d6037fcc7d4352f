"""The artifact type of DataGate's report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx.types import artifact

REPORT_FILE = "gate.json"


class DataGateResult(artifact.Artifact):
    """DataGate's decisions: `gate.json` under its URI.

    Custom properties `verdict` (str), `warnings`, `quarantined_rows` and `quarantined_spans` (int). KubeflowV2DagRunner
    takes no artifact type of ours with properties of its own, and hands its name on, by which a step imports it.
    """

    TYPE_NAME = "components.DataGateResult"


def read_report(uri: str | Path) -> dict[str, Any]:
    """Returns the report of a DataGateResult artifact."""
    return json.loads((Path(uri) / REPORT_FILE).read_text(encoding="utf-8"))
