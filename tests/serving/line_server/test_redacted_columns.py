"""A misspelt column that should not be kept is an error, not a column that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.errors import ConfigError
from schema.serving import CaptureConfig
from serving.line_server.redacted_columns import check_redacted_columns


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "schema.pbtxt"
    path.write_text('feature { name: "company" type: BYTES }\nfeature { name: "fare" type: FLOAT }\n')
    return path


def test_columns_of_the_schema_are_accepted(schema: Path) -> None:
    check_redacted_columns(
        CaptureConfig(leave_out=("company",), hash=("fare",), hash_key="k"), schema, Path("line.yaml")
    )


@pytest.mark.parametrize(
    ("key", "capture"),
    [
        ("leave_out", CaptureConfig(leave_out=("fare", "compani"))),
        ("hash", CaptureConfig(hash=("compani",), hash_key="k")),
    ],
)
def test_another_name_is_refused(schema: Path, key: str, capture: CaptureConfig) -> None:
    with pytest.raises(ConfigError) as raised:
        check_redacted_columns(capture, schema, Path("line.yaml"))
    assert f"line.yaml: serving.capture.{key} must name columns of the curated schema {schema}" in str(raised.value)
    assert "Got 'compani' instead; did you mean 'company'?" in str(raised.value)


def test_without_a_schema_nothing_is_checked(tmp_path: Path) -> None:
    check_redacted_columns(CaptureConfig(leave_out=("anything",)), tmp_path / "none.pbtxt", Path("line.yaml"))


def test_without_names_the_schema_is_not_read(tmp_path: Path) -> None:
    broken = tmp_path / "schema.pbtxt"
    broken.write_text("feature {")
    check_redacted_columns(CaptureConfig(), broken, Path("line.yaml"))
    with pytest.raises(ConfigError, match="text proto"):
        check_redacted_columns(CaptureConfig(leave_out=("x",)), broken, Path("line.yaml"))
