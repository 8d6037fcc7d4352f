"""A compiled pipeline as a file: JSON for Vertex AI, which takes a PipelineJob; YAML for Kubeflow, a PipelineSpec."""

from __future__ import annotations

import json
from typing import Any

import yaml

from schema.orchestration import Target


def spec_text(job: dict[str, Any], target: Target) -> str:
    """Returns a job as its target reads it: the same text for the same job.

    Args:
        job: the PipelineJob.
        target: what will read it.
    """
    if target == "vertex":
        return json.dumps(job, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return yaml.safe_dump(job["pipelineSpec"], sort_keys=True, allow_unicode=True, width=120)
