"""The components of the DAG, one folder each."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Returns an artifact type of ours: KubeflowV2DagRunner wants it to be named, and imported, as `PACKAGE.CLASS`."""
    if name == "DataGateResult":
        from components.data_gate.artifact import DataGateResult

        return DataGateResult
    raise AttributeError(f"module 'components' has no attribute {name!r}")
