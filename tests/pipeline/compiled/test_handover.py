"""What a step hands over comes back whole, wherever its folder is mounted by then."""

from __future__ import annotations

import shutil
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from data.mounts import as_folder
from pipeline.compiled import handover


def proto(uri: Path, **properties: int | str) -> metadata_store_pb2.Artifact:
    artifact = metadata_store_pb2.Artifact(uri=str(uri), id=7, type_id=3)
    for key, value in properties.items():
        field = "int_value" if isinstance(value, int) else "string_value"
        setattr(artifact.custom_properties[key], field, value)
    return artifact


def test_artifacts_keep_their_number_order_and_types(tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    handover.leave(folder, [proto(folder / f"span-{n}", rows=2**53 + n, label=f"L{n}") for n in (2, 1)])
    found = handover.take(folder)
    assert found is not None
    assert [artifact.uri for artifact in found] == [str(folder / "span-2"), str(folder / "span-1")]
    # As JSON numbers they would be rounded.
    assert [artifact.custom_properties["rows"].int_value for artifact in found] == [2**53 + 2, 2**53 + 1]
    assert found[0].custom_properties["label"].string_value == "L2"


def test_none_at_all_is_something_else_than_nothing_said(tmp_path: Path) -> None:
    assert handover.take(tmp_path / "model") is None
    handover.leave(tmp_path / "model", [])
    assert handover.take(tmp_path / "model") == []


def test_a_folder_can_be_mounted_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "model", tmp_path / "there" / "model"
    handover.leave(here, [proto(here, version=1), proto(Path("/served/model/4"))])
    shutil.move(here.parent, there.parent)
    found = handover.take(there)
    assert found is not None
    assert [artifact.uri for artifact in found] == [str(there), "/served/model/4"]


def test_an_id_is_the_same_in_every_step_and_follows_the_path(tmp_path: Path) -> None:
    handover.leave(tmp_path / "a", [proto(tmp_path / "a" / "1"), proto(tmp_path / "a" / "2")])
    one, two = handover.take(tmp_path / "a") or []
    assert one.id == handover.artifact_id(str(tmp_path / "a" / "1")) != two.id
    assert 0 < one.id < 2**63


def test_nothing_of_it_lies_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "schema").mkdir()
    handover.leave(tmp_path / "schema", [proto(tmp_path / "schema")])
    assert not list((tmp_path / "schema").iterdir()), "TFX takes the one file of a schema's folder"


def test_buckets_are_folders_below_the_mount() -> None:
    assert as_folder("gs://bucket/a/b", {}) == "/gcs/bucket/a/b"
    assert as_folder("gs://bucket/a", {"CONVEYOR_GCS_MOUNT": "/mnt/x"}) == "/mnt/x/bucket/a"
    assert as_folder("/plain/path", {"CONVEYOR_GCS_MOUNT": "/mnt/x"}) == "/plain/path"
