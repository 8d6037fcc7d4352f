"""Section of a line config about running elsewhere: Kubeflow Pipelines or Vertex AI Pipelines."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from schema.base import Section

NODES = (
    "SpanExampleGen",
    "SpanStatisticsGen",
    "CuratedSchemaGen",
    "SpanExampleValidator",
    "DataGate",
    "Transform",
    "Tuner",
    "Trainer",
    "baseline",
    "Evaluator",
    "InfraValidator",
    "Pusher",
)
"""The nodes of the DAG, in an order in which they can be run."""

_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")


class ResourcesConfig(Section):
    """What the container of a component is given."""

    cpu: str | None = None
    """CPUs, e.g. `4` or `500m`."""
    memory: str | None = None
    """Memory, e.g. `16Gi`."""
    accelerator_type: str | None = None
    """Accelerator, e.g. `NVIDIA_TESLA_T4` (Vertex) or `nvidia.com/gpu` (Kubeflow)."""
    accelerator_count: int = Field(default=1, ge=1)
    """How many of them."""

    @field_validator("cpu", "memory")
    @classmethod
    def _quantity(cls, value: str | None) -> str | None:
        if value is not None and not _QUANTITY.fullmatch(value):
            raise ValueError(f"must be a quantity such as 4, 500m or 16Gi. Got {value!r} instead")
        return value


class OrchestrationConfig(Section):
    """Kubeflow Pipelines or Vertex AI Pipelines: what `conveyor compile` writes into the pipeline spec."""

    image: str | None = None
    """Container image of the steps, with this project in it (`deploy/Dockerfile`)."""
    pipeline_root: str | None = None
    """Where artifacts go: `gs://BUCKET/FOLDER`, or a folder that every step has mounted at the same path."""
    state: str | None = None
    """The line's state as a folder that the steps see; by default below `pipeline_root`, a bucket being mounted at
    `/gcs/BUCKET` as Vertex AI does it. The release ledger, the curated schema's suggestions and what is remembered from
    run to run lie there."""
    enable_cache: bool = False
    """Whether the service may answer a step from an earlier run of it with the same inputs."""
    max_retry_count: int = Field(default=1, ge=0, le=10)
    """How often a step that failed is tried again."""
    resources: dict[str, ResourcesConfig] = Field(default_factory=dict)
    """Component to what its container is given; `default` for those that are not named."""

    @field_validator("pipeline_root", "state")
    @classmethod
    def _place(cls, value: str | None, info: object) -> str | None:
        name = getattr(info, "field_name", "")
        if value is None or value.startswith("/") or (name == "pipeline_root" and re.match(r"gs://[^/]", value)):
            return value.rstrip("/") if value else value
        allowed = "an absolute folder" + (" or gs://BUCKET/FOLDER" if name == "pipeline_root" else "")
        raise ValueError(f"must be {allowed}. Got {value!r} instead")

    @model_validator(mode="after")
    def _known_nodes(self) -> OrchestrationConfig:
        for name in self.resources:
            if name not in (*NODES, "default"):
                raise ValueError(f"resources must name components: default, {', '.join(NODES)}. Got {name!r} instead")
        return self


Target = Literal["kubeflow", "vertex"]
