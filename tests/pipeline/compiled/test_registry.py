"""An image's name is read as Docker reads it, and looked for as Docker looks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.compiled.registry import ImageName, image_problem
from tests.pipeline.compiled.fake_cloud import Cloud, cloud


@pytest.fixture
def fake() -> Iterator[Cloud]:
    with cloud() as server:
        yield server


@pytest.mark.parametrize(
    ("name", "url", "at_google"),
    [
        ("conveyor", "https://registry-1.docker.io/v2/library/conveyor/manifests/latest", False),
        ("team/conveyor:2", "https://registry-1.docker.io/v2/team/conveyor/manifests/2", False),
        ("ghcr.io/team/conveyor@sha256:ab", "https://ghcr.io/v2/team/conveyor/manifests/sha256:ab", False),
        ("localhost:5000/conveyor:1", "http://localhost:5000/v2/conveyor/manifests/1", False),
        (
            "europe-docker.pkg.dev/p/r/conveyor:1.2@sha256:ab",
            "https://europe-docker.pkg.dev/v2/p/r/conveyor/manifests/sha256:ab",
            True,
        ),
        ("eu.gcr.io/p/conveyor", "https://eu.gcr.io/v2/p/conveyor/manifests/latest", True),
        ("gcr.io.evil.example/p/conveyor", "https://gcr.io.evil.example/v2/p/conveyor/manifests/latest", False),
    ],
)
def test_names(name: str, url: str, at_google: bool) -> None:
    parsed = ImageName.parse(name)
    assert (parsed.manifest_url, parsed.at_google) == (url, at_google)


def test_an_image_that_is_there(fake: Cloud) -> None:
    assert image_problem(f"{fake.host}/team/conveyor:1") == (None, "")
    assert [one[0] for one in fake.seen] == ["HEAD"]


def test_a_registry_that_wants_a_token_gives_one(fake: Cloud) -> None:
    fake.registry_token = "pull"
    assert image_problem(f"{fake.host}/team/conveyor:1") == (None, "")
    assert "scope=repository%3Ateam%2Fconveyor%3Apull" in fake.requests("GET /registry-token")[0][1]


def test_googles_token_goes_to_google_only(fake: Cloud) -> None:
    image_problem(f"{fake.host}/team/conveyor:1", "ya29.mine")
    assert "authorization" not in fake.seen[0][2]


def test_an_image_that_is_not_there(fake: Cloud) -> None:
    problem, note = image_problem(f"{fake.host}/team/conveyor:2")
    assert problem is not None and problem.config and note == ""
    assert problem.key == "orchestration.image" and "its registry has no such image" in problem.message
