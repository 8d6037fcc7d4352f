"""What a curated schema says about rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.errors import ConfigError
from serving.client.rules import ColumnRule, read_rules

TAXI = Path("schema/taxi/schema.pbtxt")


def rule(tmp_path: Path, feature: str, more: str = "") -> ColumnRule:
    file = tmp_path / "schema.pbtxt"
    file.write_text(f'feature {{ name: "c" {feature} }} {more}')
    return read_rules(file)["c"]


def test_the_taxi_schema() -> None:
    rules = read_rules(Path(__file__).resolve().parents[3] / TAXI)
    assert not rules["tips"].served
    assert not rules["big_tipper"].served
    assert rules["fare"] == ColumnRule("fare", "FLOAT", required=True, least=0, most=1000)
    assert rules["trip_seconds"] == ColumnRule("trip_seconds", "INT", least=0, most=86400)
    assert rules["company"].values is None, "a share of companies may be unknown"
    assert rules["payment_type"].values is not None
    assert "Cash" in rules["payment_type"].values


@pytest.mark.parametrize(
    ("feature", "more", "expected"),
    [
        ("type: INT presence { min_fraction: 1 }", "", ColumnRule("c", "INT", required=True)),
        ("type: INT presence { min_fraction: 0.9 }", "", ColumnRule("c", "INT")),
        ("type: INT int_domain { max: 0 }", "", ColumnRule("c", "INT", most=0)),
        ("type: FLOAT float_domain { min: 0.5 }", "", ColumnRule("c", "FLOAT", least=0.5)),
        ('type: BYTES domain: "d"', 'string_domain { name: "d" value: "x" }', ColumnRule("c", "BYTES", values=("x",))),
        ('type: BYTES domain: "absent"', "", ColumnRule("c", "BYTES")),
        (
            'type: BYTES bool_domain { true_value: "y" false_value: "n" }',
            "",
            ColumnRule("c", "BYTES", values=("y", "n")),
        ),
        ("type: BYTES string_domain { }", "", ColumnRule("c", "BYTES")),
        (
            'type: BYTES string_domain { value: "x" } distribution_constraints { min_domain_mass: 0.5 }',
            "",
            ColumnRule("c", "BYTES"),
        ),
        (
            "type: INT lifecycle_stage: DEPRECATED presence { min_fraction: 1 } int_domain { min: 1 }",
            "",
            ColumnRule("c", "INT"),
        ),
        ("type: INT", 'default_environment: "TRAINING"', ColumnRule("c", "INT", served=False)),
        ('type: INT in_environment: "SERVING"', 'default_environment: "TRAINING"', ColumnRule("c", "INT")),
        ('type: INT not_in_environment: "SERVING"', "", ColumnRule("c", "INT", served=False)),
        ("", "", ColumnRule("c", None)),
    ],
)
def test_features(tmp_path: Path, feature: str, more: str, expected: ColumnRule) -> None:
    assert rule(tmp_path, feature, more) == expected


def test_a_file_that_is_no_schema(tmp_path: Path) -> None:
    file = tmp_path / "schema.pbtxt"
    file.write_text("nonsense { }")
    with pytest.raises(ConfigError, match="the curated schema must be a TensorFlow Metadata text proto"):
        read_rules(file)
    with pytest.raises(ConfigError, match="No such file"):
        read_rules(tmp_path / "absent")
