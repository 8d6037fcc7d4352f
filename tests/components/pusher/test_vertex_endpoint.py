"""A push to a Vertex endpoint: the endpoint first, the ledger after it, and a rollback that takes both along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components.pusher.push import Candidate, PushResult, push
from components.pusher.vertex_endpoint import deploy
from schema.errors import ReleaseError
from schema.release import VertexEndpointConfig
from serving import trials
from serving.ledger import Ledger
from serving.releases import rollback
from tests.pipeline.compiled.fake_cloud import Cloud, cloud

IMAGE = "europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud() as server:
        server.let_in(monkeypatch, tmp_path)
        monkeypatch.setenv("CONVEYOR_GCS_MOUNT", str(tmp_path / "gcs"))
        server.endpoints["77"] = {}
        yield server


class Place:
    """A base path in a mounted bucket, and its ledger."""

    def __init__(self, tmp_path: Path, fake: Cloud) -> None:
        self.base = tmp_path / "gcs" / "bucket" / "served"
        self.ledger = Ledger(tmp_path / "releases.jsonl")
        self.models = tmp_path / "models"
        self.endpoint: dict[str, Any] = VertexEndpointConfig(
            endpoint="77", project="my-project-1", region="europe-west4", serving_image=IMAGE, api_endpoint=fake.url
        ).model_dump(mode="json")

    def candidate(self, digest: str) -> Candidate:
        folder = self.models / digest
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_text(digest)
        return Candidate(folder, digest, str(folder), "run-1")

    def push(self, digest: str, endpoint: dict[str, Any] | None = None, base: Path | None = None) -> PushResult:
        given = self.endpoint if endpoint is None else endpoint
        return push(self.candidate(digest), base or self.base, self.ledger, digest=read, endpoint=given)


def read(folder: Path) -> str:
    return (folder / "saved_model.pb").read_text()


@pytest.fixture
def place(tmp_path: Path, fake: Cloud) -> Place:
    return Place(tmp_path, fake)


def served(fake: Cloud) -> list[str]:
    """Returns the artifact URIs of what the endpoint has, those with all traffic only when nothing else is there."""
    endpoint = fake.endpoints["77"]
    found = []
    for one in endpoint.get("deployedModels", []):
        uri = fake.models[one["model"].rpartition("/")[2]]["artifactUri"]
        found.append(uri if endpoint["trafficSplit"].get(one["id"]) == 100 else f"idle {uri}")
    return found


def test_a_push_is_deployed_with_all_traffic_and_the_older_one_goes(fake: Cloud, place: Place) -> None:
    assert place.push("a" * 64).version == 1
    assert served(fake) == ["gs://bucket/served/1"]
    assert place.push("b" * 64).version == 2
    assert served(fake) == ["gs://bucket/served/2"]
    upload = fake.requests("POST .*models:upload")[0][3]
    assert upload["model"]["containerSpec"] == {"imageUri": IMAGE}
    body = fake.requests("POST .*:deployModel")[0][3]
    resources = {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1, "maxReplicaCount": 1}
    assert body["deployedModel"]["dedicatedResources"] == resources
    assert body["trafficSplit"] == {"0": 100}
    events = [json.loads(line) for line in place.ledger.path.read_text().splitlines()]
    assert [(one["event"], one["version"], one["endpoint"]["endpoint"]) for one in events] == [
        ("pushed", 1, "77"),
        ("pushed", 2, "77"),
    ]


def test_the_ledger_waits_for_the_deployment(fake: Cloud, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    append = Ledger.append
    monkeypatch.setattr(Ledger, "append", lambda self, event: (order.append(event.event), append(self, event))[1])
    answer = Cloud.answer

    def noting(self: Cloud, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
        if "operations/" in path:
            order.append("deployed")
        return answer(self, method, path, headers, body)

    monkeypatch.setattr(Cloud, "answer", noting)
    place.push("a" * 64)
    assert order[-2:] == ["deployed", "pushed"]


def test_a_deployment_that_fails_leaves_all_as_it_was_and_can_be_done_again(fake: Cloud, place: Place) -> None:
    place.push("a" * 64)
    fake.deploying = {"code": 8, "message": "no machine to be had"}
    with pytest.raises(ReleaseError, match=r"the Vertex endpoint 77 in my-project-1 must serve .*no machine to be had"):
        place.push("b" * 64)
    assert served(fake) == ["gs://bucket/served/1"]
    assert place.ledger.state().live == 1 and set(place.ledger.state().entries) == {1}
    assert not (place.base / "2").exists(), "TensorFlow Serving would load it"
    fake.deploying = None
    assert place.push("b" * 64).version == 2
    assert served(fake) == ["gs://bucket/served/2"]


def test_an_endpoint_that_lost_what_is_live_gets_it_back(fake: Cloud, place: Place) -> None:
    place.push("a" * 64)
    assert place.push("a" * 64).outcome == "already live"
    assert len(fake.requests("POST .*:deployModel")) == 1, "what it serves is not deployed anew"
    fake.endpoints["77"] = {}
    assert place.push("a" * 64).outcome == "already live"
    assert served(fake) == ["gs://bucket/served/1"]
    assert len(fake.requests("models:upload")) == 1


def test_a_push_that_was_killed_before_its_record_is_deployed_and_adopted(fake: Cloud, place: Place) -> None:
    place.push("a" * 64)
    copy = place.base / "2"
    copy.mkdir()
    (copy / "saved_model.pb").write_text("b" * 64)
    assert place.push("b" * 64).outcome == "adopted"
    assert served(fake) == ["gs://bucket/served/2"]


def test_an_endpoint_for_a_line_that_had_none_is_a_new_release(fake: Cloud, place: Place) -> None:
    push(place.candidate("a" * 64), place.base, place.ledger, digest=read)
    result = place.push("a" * 64)
    assert (result.outcome, result.version) == ("pushed", 2)
    assert served(fake) == ["gs://bucket/served/2"]


def test_a_rollback_takes_the_endpoint_along(fake: Cloud, place: Place) -> None:
    push(place.candidate("a" * 64), place.base, place.ledger, digest=read)
    place.push("b" * 64)
    place.push("c" * 64)
    assert rollback(place.ledger, place.base, digest=read, deploy=deploy).version == 2
    assert served(fake) == ["gs://bucket/served/2"]
    # To one that was pushed before there was an endpoint, and forward again.
    assert rollback(place.ledger, place.base, 1, digest=read, deploy=deploy).version == 1
    assert served(fake) == ["gs://bucket/served/1"]
    assert rollback(place.ledger, place.base, 3, digest=read, deploy=deploy).version == 3
    assert served(fake) == ["gs://bucket/served/3"]


def test_a_rollback_that_the_endpoint_refuses_changes_nothing(fake: Cloud, place: Place) -> None:
    place.push("a" * 64)
    place.push("b" * 64)
    fake.deploying = {"code": 8, "message": "no machine to be had"}
    with pytest.raises(ReleaseError, match="no machine to be had"):
        rollback(place.ledger, place.base, digest=read, deploy=deploy)
    assert place.ledger.state().live == 2 and served(fake) == ["gs://bucket/served/2"]


def test_what_would_leave_the_endpoint_behind_is_refused(fake: Cloud, place: Place) -> None:
    place.push("a" * 64)
    place.push("b" * 64)
    for change in (
        lambda: trials.canary(place.ledger, place.base, 1, 0.5, digest=read),
        lambda: rollback(place.ledger, place.base, digest=read),
    ):
        with pytest.raises(ReleaseError, match="which the Vertex endpoint 77 in my-project-1 serves"):
            change()
    assert place.ledger.state().live == 2 and place.ledger.state().canary is None


def test_a_base_path_outside_of_buckets_is_refused(tmp_path: Path, fake: Cloud, place: Place) -> None:
    with pytest.raises(ReleaseError, match=r"pusher\.push_destination must be below .*gcs, where buckets are mounted"):
        place.push("a" * 64, base=tmp_path / "served")
    assert place.ledger.state().live is None and fake.seen == []


def test_an_endpoint_that_is_not_there(fake: Cloud, place: Place) -> None:
    with pytest.raises(ReleaseError, match="the Vertex endpoint 78 in my-project-1 must serve"):
        place.push("a" * 64, {**place.endpoint, "endpoint": "78"})
    assert place.ledger.state().live is None


@pytest.mark.parametrize(
    "over",
    [
        {"endpoint": "My endpoint"},
        {"project": "My"},
        {"region": "x"},
        {"min_replica_count": 3},
        {"max_replica_count": 0},
    ],
)
def test_what_is_no_endpoint(over: dict[str, Any]) -> None:
    good = {"endpoint": "77", "project": "my-project-1", "region": "europe-west4", "serving_image": IMAGE}
    VertexEndpointConfig(**good)
    with pytest.raises(ValidationError):
        VertexEndpointConfig(**{**good, **over})


def test_nothing_of_google_is_imported_without_an_endpoint() -> None:
    program = "import sys, components.pusher.push; print([m for m in sys.modules if m.startswith('google.cloud.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
