"""Sections of a line config about the served model: what is kept of its requests, and who may ask it."""

from __future__ import annotations

from pydantic import Field, model_validator

from schema.base import Section


class CaptureConfig(Section):
    """Capture: requests and answers of the served model, kept as PredictionLog records."""

    enabled: bool = True
    """Whether requests and answers are kept."""
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    """The share of requests that is kept, chosen by a hash of the request id."""
    leave_out: tuple[str, ...] = ()
    """Raw columns that are never written, e.g. personal data that nobody needs."""
    hash: tuple[str, ...] = ()
    """Raw columns of which a keyed hash (HMAC-SHA-256) is written instead of the value: rows can still be joined."""
    hash_key: str | None = Field(default=None, json_schema_extra={"secret": True})
    """The key of that hash; give it as `${NAME}` from the environment."""
    max_file_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """A file is closed and the next one begun at this size."""
    max_file_seconds: float = Field(default=300.0, gt=0)
    """And at this age."""
    queue_records: int = Field(default=10_000, ge=1)
    """Records that may wait to be written; more are dropped and counted, for a prediction never waits."""
    retention_days: float | None = Field(default=None, gt=0)
    """Closed files older than this are removed. By default none is."""
    retention_bytes: int | None = Field(default=None, ge=1)
    """The oldest closed files are removed until the rest is no larger than this. By default none is."""

    @model_validator(mode="after")
    def _hashed(self) -> CaptureConfig:
        both = sorted(set(self.leave_out) & set(self.hash))
        if both:
            raise ValueError(f"leave_out and hash must not name the same column. Got {both} in both instead")
        if self.hash and not self.hash_key:
            raise ValueError("hash_key must be set where hash names columns, e.g. ${CAPTURE_HASH_KEY}")
        return self


class LimitsConfig(Section):
    """Limits that keep one client from taking the server down."""

    max_message_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """The largest request, decompressed."""
    max_batch_rows: int = Field(default=100_000, ge=1)
    """The most rows in a request."""
    max_header_bytes: int = Field(default=16 * 1024, ge=1024)
    """The largest head of a request."""
    max_concurrent_requests: int = Field(default=256, ge=1)
    """Requests at work at a time; more are refused with RESOURCE_EXHAUSTED."""
    request_timeout_seconds: float = Field(default=30.0, gt=0)
    """After so long a request is answered with DEADLINE_EXCEEDED."""


class TlsConfig(Section):
    """TLS on gRPC and REST."""

    certificate: str
    """PEM file of the server's certificate chain."""
    key: str
    """PEM file of its private key."""
    client_ca: str | None = None
    """PEM file of the authority whose certificates clients must show (mutual TLS). By default they need none."""


class ServingConfig(Section):
    """Serving: how `conveyor serve` and `conveyor gateway` answer clients."""

    capture: CaptureConfig = Field(default_factory=CaptureConfig)
    """What is kept of requests and answers."""
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    """How much a client may ask for."""
    tls: TlsConfig | None = None
    """TLS. By default there is none."""
    tokens_file: str | None = None
    """File of bearer tokens, a line `read TOKEN` or `admin TOKEN` each. By default no token is asked for."""
    gather: bool = True
    """Whether small Predict requests that are there at the same moment run as one batch (gRPC). None waits for others.
    Infra validation checks that a row has the same answer alone and in a batch, up to rounding; set this to false for a
    model of your own that is not made so."""
    verify: bool = True
    """Whether a version whose model digest is not the release ledger's is refused."""
    require_signed: bool = False
    """Whether a version is refused that is not, byte for byte, what one of `trusted_keys` has signed."""
    trusted_keys: tuple[str, ...] = ()
    """PEM files of the public keys whose signatures count, one key a file."""
