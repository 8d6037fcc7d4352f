"""Storage of any scheme as the folder that it is mounted at, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.mounts import as_folder, as_uri, mounted_folder, mounts
from schema.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/gcs/b/x/y", "gs://b/x/y"),
        ("/s3/b/x", "s3://b/x"),
        ("/hdfs/name:8020/x", "hdfs://name:8020/x"),
        ("/gcsx/b", None),
        ("/data/x", None),
        ("relative", None),
    ],
)
def test_paths_and_uris(path: str, uri: str | None) -> None:
    assert as_uri(path, mounts({})) == uri
    if uri is not None:
        assert as_folder(uri, {}) == path


@pytest.mark.parametrize(
    ("scheme", "variable"),
    [("gs", "CONVEYOR_GCS_MOUNT"), ("s3", "CONVEYOR_S3_MOUNT"), ("minio", "CONVEYOR_MINIO_MOUNT")],
)
def test_a_bucket_counts_where_it_is_mounted(scheme: str, variable: str, tmp_path: Path) -> None:
    env = {variable: f"{tmp_path}/"}
    with pytest.raises(ConfigError, match=f"KEY must be in a bucket that is mounted at {tmp_path}/b") as raised:
        mounted_folder(f"{scheme}://b/x", env, "KEY")
    assert raised.value.hint is not None and variable in raised.value.hint
    (tmp_path / "b").mkdir()
    assert mounted_folder(f"{scheme}://b/x", env, "KEY") == f"{tmp_path}/b/x"


@pytest.mark.parametrize("uri", ["gs:///x", "s3://", "gs://../x", "gs://b/../../etc"])
def test_a_uri_that_names_no_bucket_or_leads_out_of_it(uri: str, tmp_path: Path) -> None:
    env = {"CONVEYOR_GCS_MOUNT": str(tmp_path), "CONVEYOR_S3_MOUNT": str(tmp_path)}
    with pytest.raises(ConfigError, match="KEY must be a folder, or .*://BUCKET/FOLDER without `..`"):
        mounted_folder(uri, env, "KEY")


def test_files_and_folders_of_this_machine() -> None:
    assert mounted_folder("/data/x", {}, "KEY") == "/data/x"
    assert mounted_folder("file:///data/x", {}, "KEY") == as_folder("file:///data/x", {}) == "/data/x"
    with pytest.raises(ConfigError, match="KEY must be file:///FOLDER"):
        mounted_folder("file://host/x", {}, "KEY")
