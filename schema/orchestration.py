"""Section of a line config about running elsewhere: Kubeflow Pipelines or Vertex AI Pipelines."""

from __future__ import annotations

import re
import zoneinfo
from typing import Literal
from urllib.parse import urlsplit

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

CustomJobNode = Literal["Trainer", "Tuner"]
"""The nodes that can be Vertex custom jobs."""

_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+(-[a-z]+)+\d+")
_EMAIL = re.compile(r"[a-z0-9-]+@[a-z0-9.-]+\.[a-z]+")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NETWORK = re.compile(r"projects/\d+/global/networks/[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_MACHINE_TYPE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
# Each field's least and greatest number. 0 is Sunday; KFP does not know 7.
_CRON_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
_CRON_NAMES = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "day of week": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}


def check_project(value: str | None) -> str | None:
    """Returns a Google Cloud project id as it is. Raises ValueError for anything else."""
    if value is not None and not _PROJECT.fullmatch(value):
        raise ValueError(f"must be a project id such as my-project-1, not its name or number. Got {value!r} instead")
    return value


def check_region(value: str | None) -> str | None:
    """Returns a region's name as it is. Raises ValueError for anything that does not look like one."""
    if value is not None and not _REGION.fullmatch(value):
        raise ValueError(f"must be a region such as europe-west4. Got {value!r} instead")
    return value


def check_url(value: str | None) -> str | None:
    """Returns an http(s) URL without its last slash. Raises ValueError for anything else."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment or "@" in value)
    if not plain:
        # What stands before an @ would be a password.
        shown = "a URL with a user or password" if "@" in value else repr(value)
        raise ValueError(
            "must be an http:// or https:// URL without user, password or query, such as "
            f"https://kubeflow.example/pipeline. Got {shown} instead"
        )
    return value.rstrip("/")


def is_email(service_account: str) -> bool:
    """Whether a service account is Google Cloud's, named by its e-mail address, and not Kubernetes'."""
    return _EMAIL.fullmatch(service_account) is not None


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


class ScheduleConfig(Section):
    """When the service starts a run by itself."""

    cron: str
    """Five fields: minute, hour, day of month, month, day of week, e.g. `0 5 * * 1-5`."""
    time_zone: str = "UTC"
    """IANA time zone that `cron` is read in, e.g. `Europe/Amsterdam`."""
    max_concurrent_run_count: Literal[1] = 1
    """Runs at the same time. Only 1: two would write the same release ledger."""

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        fields = value.split()
        wrong = "" if len(fields) == len(_CRON_FIELDS) else f"{len(fields)} fields"
        for text, (name, least, most) in zip(fields, _CRON_FIELDS, strict=False):
            wrong = wrong or ("" if _cron_field(text, name, least, most) else f"{text!r} as {name}")
        if wrong:
            raise ValueError(
                "must be cron's five fields minute, hour, day of month, month and day of week, such as '0 5 * * 1-5'. "
                f"Got {value!r} ({wrong}) instead"
            )
        return " ".join(fields)

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"must be an IANA time zone such as Europe/Amsterdam. Got {value!r} instead") from None
        return value


def _cron_field(text: str, name: str, least: int, most: int) -> bool:
    names = _CRON_NAMES.get(name, ())

    def number(word: str) -> int | None:
        if word.lower() in names:
            return names.index(word.lower()) + least
        return int(word) if re.fullmatch(r"\d{1,2}", word) else None

    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and not (re.fullmatch(r"\d{1,2}", step) and int(step)):
            return False
        if span == "*":
            continue
        bounds = [number(word) for word in span.split("-")]
        known = [one for one in bounds if one is not None and least <= one <= most]
        if len(known) != len(bounds) or len(bounds) > 2 or known != sorted(known):
            return False
    return True


class CustomJobConfig(Section):
    """The machine of a Vertex custom job."""

    machine_type: str
    """Machine type, e.g. `n1-standard-8`."""
    accelerator_type: str | None = None
    """Accelerator, e.g. `NVIDIA_TESLA_T4`."""
    accelerator_count: int = Field(default=1, ge=1)
    """How many of them; counts only with `accelerator_type`."""
    boot_disk_size_gb: int | None = Field(default=None, ge=100, le=64000)
    """Size of the boot disk; Vertex's own default unless given."""

    @field_validator("machine_type")
    @classmethod
    def _machine_type(cls, value: str) -> str:
        if not _MACHINE_TYPE.fullmatch(value):
            raise ValueError(f"must be a machine type such as n1-standard-8. Got {value!r} instead")
        return value


class OrchestrationConfig(Section):
    """Kubeflow Pipelines or Vertex AI Pipelines: what `conveyor compile` writes into the pipeline spec."""

    image: str | None = None
    """Container image of the steps, with this project in it (`deploy/Dockerfile`)."""
    pipeline_root: str | None = None
    """Where artifacts go: `gs://BUCKET/FOLDER` (or `s3://`, `minio://` … on a Kubeflow cluster, mounted in the steps),
    or a folder that every step has mounted at the same path."""
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
    service_account: str | None = None
    """Who the steps are. Vertex: a service account's e-mail address. Kubeflow: the name of a Kubernetes service
    account. By default the service's own choice."""
    project: str | None = None
    """Google Cloud project that the pipeline runs in (Vertex)."""
    region: str | None = None
    """Region that it runs in, e.g. `europe-west4` (Vertex)."""
    network: str | None = None
    """VPC network that the steps are peered with, `projects/NUMBER/global/networks/NAME` (Vertex)."""
    api_endpoint: str | None = None
    """URL of Vertex AI's API where it is not `https://REGION-aiplatform.googleapis.com`, as with Private Service
    Connect."""
    endpoint: str | None = None
    """URL of Kubeflow Pipelines, below which `/apis/v2beta1` is, e.g. `https://kubeflow.example/pipeline`."""
    namespace: str | None = None
    """Kubeflow: namespace of the runs, in a deployment for several users."""
    experiment: str | None = None
    """Kubeflow: experiment that the runs belong to, made when it is not there. By default the service's own."""
    token: str | None = Field(default=None, json_schema_extra={"secret": True})
    """Kubeflow: bearer token, as `${NAME}`."""
    schedule: ScheduleConfig | None = None
    """Runs by the clock instead of one. The window of spans is then found by each run, not when the line is
    compiled."""
    custom_jobs: dict[CustomJobNode, CustomJobConfig] = Field(default_factory=dict)
    """Trainer and Tuner as Vertex custom jobs: which machine each gets. Needs `project`, `region` and a bucket."""

    @field_validator("project")
    @classmethod
    def _project(cls, value: str | None) -> str | None:
        return check_project(value)

    @field_validator("region")
    @classmethod
    def _region(cls, value: str | None) -> str | None:
        return check_region(value)

    @field_validator("endpoint", "api_endpoint")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        return check_url(value)

    @field_validator("service_account")
    @classmethod
    def _account(cls, value: str | None) -> str | None:
        if value is not None and not is_email(value) and not _KUBERNETES_NAME.fullmatch(value):
            raise ValueError(
                "must be an e-mail address such as trainer@my-project-1.iam.gserviceaccount.com (Vertex) or the name "
                f"of a Kubernetes service account (Kubeflow). Got {value!r} instead"
            )
        return value

    @field_validator("namespace")
    @classmethod
    def _namespaces(cls, value: str | None) -> str | None:
        if value is not None and not _NAMESPACE.fullmatch(value):
            raise ValueError(
                f"must be a Kubernetes namespace: lower-case letters, digits, hyphens. Got {value!r} instead"
            )
        return value

    @field_validator("network")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        if value is not None and not _NETWORK.fullmatch(value):
            raise ValueError(f"must be projects/NUMBER/global/networks/NAME. Got {value!r} instead")
        return value

    @field_validator("pipeline_root", "state")
    @classmethod
    def _place(cls, value: str | None, info: object) -> str | None:
        name = getattr(info, "field_name", "")
        in_bucket = name == "pipeline_root" and re.match(r"[a-z][a-z0-9+.-]*://[^/]", value or "")
        if value is None or value.startswith("/") or in_bucket:
            return value.rstrip("/") if value else value
        allowed = "an absolute folder" + (" or SCHEME://BUCKET/FOLDER" if name == "pipeline_root" else "")
        raise ValueError(f"must be {allowed}. Got {value!r} instead")

    @model_validator(mode="after")
    def _known_nodes(self) -> OrchestrationConfig:
        for name in self.resources:
            if name not in (*NODES, "default"):
                raise ValueError(f"resources must name components: default, {', '.join(NODES)}. Got {name!r} instead")
        return self


Target = Literal["kubeflow", "vertex"]
