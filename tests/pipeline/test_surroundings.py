"""What a run has around it, without secrets."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from pipeline.surroundings import installed_packages, package_name, surroundings, variables_that_matter


def test_packages_are_those_that_their_metadata_name() -> None:
    found = installed_packages(sys.path)
    for name in ("tensorflow", "tfx", "apache-beam", "ml-metadata", "google-cloud-storage", "rich"):
        assert found[package_name(name)] == metadata.version(name)


def test_the_first_of_two_installations_counts(tmp_path: Path) -> None:
    for folder, version in (("a", "1.0"), ("b", "2.0")):
        (tmp_path / folder / f"Some_Package-{version}.dist-info").mkdir(parents=True)
    assert installed_packages([str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b")]) == {
        "some-package": "1.0"
    }


def test_variables_that_may_hold_secrets_are_left_out() -> None:
    env = {
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_VAR_db_password": "hunter2",
        "TF_TOKEN_app": "hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "PYTHONHASHSEED": "0",
    }
    assert variables_that_matter(env) == {"PYTHONHASHSEED": "0", "TF_NUM_INTRAOP_THREADS": "2"}


def test_the_processor_is_named() -> None:
    found = surroundings({})
    assert found["processor"]["cores"] >= 1 and found["processor"]["machine"]
    assert found["variables"] == {} and found["python"].startswith("3.")
