"""A captured record as one JSON-ready document."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from serving.capture import contents
from serving.capture.reader import Captured

_SHADOW = ("of_version", "max_abs_difference", "class_agreement")


def moment_text(seconds: float) -> str:
    """Returns a time (seconds since the epoch) as UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def document_of(captured: Captured) -> dict[str, Any]:
    """Returns everything that is known of a captured request, request and answer included."""
    capture, spec = captured.metadata.capture, captured.metadata.model_spec
    log = captured.log()
    document: dict[str, Any] = {
        "request_id": capture.request_id,
        "line": capture.line,
        "model": spec.name,
        "version": captured.version,
        "time": moment_text(captured.started),
        "seconds": round(capture.seconds, 9),
        "api": capture.api,
        "method": captured.entrypoint,
        "signature": spec.signature_name or None,
        "code": captured.code.name,
        "message": capture.message,
        "caller_key": capture.caller_key or None,
        "inputs": contents.inputs(log),
        "outputs": contents.outputs(log),
        "file": str(captured.file),
    }
    for name in ("request_body", "response_body"):
        if body := getattr(capture, name):
            document[name] = body.decode("utf-8", "replace")
    if captured.shadow is not None:
        document["shadow"] = {
            name: getattr(captured.shadow, name) if captured.shadow.HasField(name) else None for name in _SHADOW
        }
    return document
