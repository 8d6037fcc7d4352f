"""What is looked at without asking anyone."""

from __future__ import annotations

import warnings

import pytest

from pipeline.compiled.checks import vertex_regions


@pytest.mark.slow
def test_the_regions_are_those_of_the_library() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.cloud.aiplatform.constants import base
    assert vertex_regions() == base.SUPPORTED_REGIONS - {"global"}
    assert "europe-west4" in vertex_regions()
