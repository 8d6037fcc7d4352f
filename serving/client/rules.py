"""What a line's curated schema says about the values of a column, as rules that a row can be held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data.columns import nearest
from schema.errors import ConfigError

Kind = Literal["INT", "FLOAT", "BYTES"]
SERVING = "SERVING"


@dataclasses.dataclass(frozen=True)
class ColumnRule:
    """The rules of one column.

    Attributes:
        name: the column.
        kind: its type, or None where the schema does not say.
        served: whether it is known when a prediction is asked for (a label is not).
        required: whether every row must have a value.
        least: the least number allowed, or None.
        most: the greatest number allowed, or None.
        values: the texts allowed, or None for any.
    """

    name: str
    kind: Kind | None
    served: bool = True
    required: bool = False
    least: float | None = None
    most: float | None = None
    values: tuple[str, ...] | None = None

    def broken_by(self, values: np.ndarray, missing: np.ndarray, wrong: np.ndarray) -> dict[int, str]:
        """Holds a column against the rules.

        Args:
            values: numbers, or an object array of bytes; (n,).
            missing: bool (n,), where the row has no value.
            wrong: bool (n,), where the row's value is no value of the column anyway, and is not judged.

        Returns:
            Position to sentence, of the rows that break a rule.
        """
        broken: dict[int, str] = {}
        if self.required:
            for row in np.flatnonzero(missing & ~wrong):
                broken[int(row)] = f"column {self.name!r} must be given (curated schema). Got nothing instead"
        judged = ~(missing | wrong)
        if values.dtype == object:
            broken |= self._texts(values, judged)
        elif values.dtype.kind in "iuf":
            if self.least is not None:
                for row in np.flatnonzero(judged & (values < self.least)):
                    broken[int(row)] = self._sentence(f"at least {self.least:.15g}", values[row])
            if self.most is not None:
                for row in np.flatnonzero(judged & (values > self.most)):
                    broken[int(row)] = self._sentence(f"at most {self.most:.15g}", values[row])
        return broken

    def _texts(self, values: np.ndarray, judged: np.ndarray) -> dict[int, str]:
        if self.values is None:
            return {}
        allowed = {text.encode() for text in self.values}
        broken = {}
        for row, value in enumerate(values):
            if judged[row] and value not in allowed:
                text = value.decode("utf-8", "backslashreplace")
                shown = ", ".join(self.values[:10]) + (", ..." if len(self.values) > 10 else "")
                near = nearest(text, self.values)
                guess = f". {near}" if near.startswith("Did") else ""
                broken[row] = self._sentence(f"one of {shown}", text) + guess
        return broken

    def _sentence(self, expected: str, got: Any) -> str:
        got = got.item() if isinstance(got, np.generic) else got
        return f"column {self.name!r} must be {expected} (curated schema). Got {got!r} instead"


def read_rules(file: Path) -> dict[str, ColumnRule]:
    """Reads a curated schema.

    A domain from which only a share of the values must come (`distribution_constraints`) says nothing about one value,
    and a feature that is not in production yet, or not any more, has no rules but its type.

    Args:
        file: a TensorFlow Metadata schema, as text.

    Returns:
        Column name to its rules, by name.

    Raises:
        ConfigError: the file cannot be read.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        schema = text_format.Parse(file.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ConfigError(
            f"{file}: the curated schema must be a TensorFlow Metadata text proto. Got {error} instead"
        ) from None
    domains = {domain.name: domain for domain in schema.string_domain}
    return {
        feature.name: _rule(feature, domains, schema_pb2, set(schema.default_environment))
        for feature in sorted(schema.feature, key=lambda feature: str(feature.name))
    }


def _rule(feature: Any, domains: Mapping[str, Any], schema_pb2: Any, environments: set[str]) -> ColumnRule:
    kinds: dict[int, Kind] = {schema_pb2.INT: "INT", schema_pb2.FLOAT: "FLOAT", schema_pb2.BYTES: "BYTES"}
    named = (environments | set(feature.in_environment)) - set(feature.not_in_environment)
    served = SERVING in named if environments or feature.in_environment else SERVING not in feature.not_in_environment
    least = most = None
    values: tuple[str, ...] | None = None
    domain = feature.WhichOneof("domain_info")
    if domain in ("int_domain", "float_domain"):
        bounds = getattr(feature, domain)
        least = bounds.min if bounds.HasField("min") else None
        most = bounds.max if bounds.HasField("max") else None
    elif domain == "string_domain":
        values = tuple(feature.string_domain.value)
    elif domain == "domain" and feature.domain in domains:
        values = tuple(domains[feature.domain].value)
    elif domain == "bool_domain":
        values = tuple(text for text in (feature.bool_domain.true_value, feature.bool_domain.false_value) if text)
    share = feature.distribution_constraints.min_domain_mass if feature.HasField("distribution_constraints") else 1.0
    deprecated = (schema_pb2.PLANNED, schema_pb2.ALPHA, schema_pb2.DEBUG_ONLY, schema_pb2.DEPRECATED)
    used = feature.lifecycle_stage not in deprecated
    return ColumnRule(
        name=feature.name,
        kind=kinds.get(feature.type),
        served=served,
        required=used and feature.presence.min_fraction >= 1.0,
        least=least if used else None,
        most=most if used else None,
        values=(values or None) if share >= 1.0 and used else None,
    )
