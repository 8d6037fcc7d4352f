"""What earlier searches found: best hyperparameters are reused until the model's config or the schema changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.whole_file import mark_used, replace_text
from schema.base import canonical_json

BEST_FILE = "best_hyperparameters.json"


def search_key(config: Mapping[str, Any], schema: bytes, code_digest: str, data: str = "") -> str:
    """Returns the identity of a search: SHA-256 over the config sections, the schema, the code, and maybe the data.

    Args:
        config: the sections that a trial depends on.
        schema: the data schema's bytes.
        code_digest: the code digest of the tuner.
        data: an identity of the data, for a search that is to be done anew when the data changes.
    """
    parts = (canonical_json(config).encode(), schema, code_digest.encode(), data.encode())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def recall(folder: Path) -> dict[str, Any] | None:
    """Returns what a search left in its folder, or None when it has not ended."""
    try:
        found = json.loads((folder / BEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    mark_used(folder / BEST_FILE)
    return found


def remember(folder: Path, found: Mapping[str, Any]) -> None:
    """Keeps what a search found."""
    replace_text(folder / BEST_FILE, canonical_json(dict(found)))
