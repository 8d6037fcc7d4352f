"""What every section of a line config has in common: strictness, canonical form and digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


def canonical_json(value: Any) -> str:
    """Returns the one JSON text of `value`: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_json(value: Any) -> str:
    """Returns the hex SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Section(BaseModel):
    """A part of a line config. Unknown keys are errors and values are frozen once read."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    def canonical(self) -> str:
        """Returns the canonical JSON of this section, every default filled in."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    def digest(self) -> str:
        """Returns the config digest of this section (hex SHA-256 of its canonical JSON)."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


class Handover(Section):
    """What one part of the pipeline hands to another: as strict as a section, but no user writes it.

    Its fields' docstrings are for readers of the source. Pydantic would look for the source of every module that has
    been imported, and after TensorFlow that takes half a second.
    """

    model_config = ConfigDict(use_attribute_docstrings=False)
