"""`conveyor submit`: what it sends is what `--dry-run` shows, and nothing is sent when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conveyor import cli
from pipeline.compiled import checks
from tests.e2e.line_runs import Workplace, taxi_rows, write_csv
from tests.pipeline.compiled.fake_cloud import Cloud, cloud

ACCOUNT = "trainer@my-project-1.iam.gserviceaccount.com"
EVERY_MORNING = {"cron": "0 5 * * 1-5", "time_zone": "Europe/Amsterdam"}
CREATION = r"POST .*(pipelineJobs|schedules|/runs|/recurringruns)"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud() as server:
        server.let_in(monkeypatch, tmp_path)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setenv("CONVEYOR_GCS_MOUNT", str(tmp_path / "gcs"))
        monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("KFP_TOKEN", "s3cret")
        monkeypatch.setattr(checks, "IAM_URL", server.url)
        yield server


class Line:
    """A line whose overlay names the fake services."""

    def __init__(self, tmp_path: Path, fake: Cloud, target: str) -> None:
        self.target = target
        self.data = write_csv(tmp_path / "gcs" / "bucket" / "trips.csv", taxi_rows()[:2000])
        examples = {"input": str(self.data), "allow_gaps": True}
        self.workplace = Workplace(tmp_path / "line").shipped("taxi", examples=examples)
        image = f"{fake.host}/team/conveyor:1"
        self.orchestration: dict[str, Any] = {"image": image, "pipeline_root": "gs://bucket/root"}
        if target == "vertex":
            place = {"project": "my-project-1", "region": "europe-west4", "api_endpoint": fake.url}
            self.orchestration |= {**place, "service_account": ACCOUNT}
        else:
            self.orchestration |= {"endpoint": fake.url, "token": "${KFP_TOKEN}", "service_account": "pipeline-runner"}

    def submit(self, *args: str, examples: dict[str, Any] | None = None, **over: Any) -> int:
        config: dict[str, Any] = {"orchestration": {**self.orchestration, **over}}
        if examples:
            config["examples"] = examples
        (self.workplace.folder / "line.prod.yaml").write_text(json.dumps(config), encoding="utf-8")
        return cli.main(["submit", str(self.workplace.folder), "--env", "prod", "--target", self.target, *args])


@pytest.fixture
def vertex(tmp_path: Path, fake: Cloud) -> Line:
    return Line(tmp_path, fake, "vertex")


@pytest.fixture
def kubeflow(tmp_path: Path, fake: Cloud) -> Line:
    return Line(tmp_path, fake, "kubeflow")


def plain(value: Any, *names: str) -> Any:
    """Returns what was sent without the ids that are new each time."""
    text = json.dumps(value)
    for number, name in enumerate(names):
        text = text.replace(name, f"ID{number}")
    return json.loads(text)


def ids(labels: dict[str, str], job: str) -> tuple[str, ...]:
    return job, labels["conveyor-run"]


@pytest.mark.parametrize("schedule", [None, EVERY_MORNING])
def test_vertex_is_sent_what_the_dry_run_shows(
    vertex: Line, fake: Cloud, capsys: pytest.CaptureFixture[str], schedule: dict[str, str] | None
) -> None:
    network = "projects/123/global/networks/default"
    assert vertex.submit("--dry-run", schedule=schedule, network=network) == 0
    assert fake.seen == []
    shown = json.loads(capsys.readouterr().out)
    assert vertex.submit("--json", schedule=schedule, network=network) == 0
    made = json.loads(capsys.readouterr().out)
    ((method, path, headers, body),) = fake.requests(CREATION)
    (call,) = shown["requests"]
    assert headers["authorization"] == "Bearer ya29.fake"
    assert call["headers"] == {"Authorization": "Bearer ***"}
    assert (method, path.partition("?")[0]) == (call["method"], call["url"].removeprefix(fake.url).partition("?")[0])
    sent = plain(body, *ids(made["labels"], made["job"]))
    assert sent == plain(call["body"], *ids(shown["labels"], shown["job"]))
    job = body if schedule is None else body["createPipelineJobRequest"]["pipelineJob"]
    assert (job["serviceAccount"], job["network"]) == (ACCOUNT, network)
    assert job["runtimeConfig"] == {"gcsOutputDirectory": "gs://bucket/root"}
    assert job["labels"]["conveyor-line"] == "taxi" and len(job["labels"]["conveyor-config"]) == 32
    assert made["job"] != shown["job"], "submitting twice must not collide"
    if schedule is None:
        assert f"pipelineJobId={made['job']}" in path
        assert made["id"] == f"projects/my-project-1/locations/europe-west4/pipelineJobs/{made['job']}"
        assert made["url"].endswith(f"/europe-west4/pipelines/runs/{made['job']}?project=my-project-1")
    else:
        assert body["cron"] == "TZ=Europe/Amsterdam 0 5 * * 1-5"
        assert body["maxConcurrentRunCount"] == body["maxConcurrentActiveRunCount"] == "1"
        assert made["url"].endswith("/pipelines/schedules/4711/runs?project=my-project-1")


@pytest.mark.parametrize("schedule", [None, EVERY_MORNING])
def test_kubeflow_is_sent_what_the_dry_run_shows(
    kubeflow: Line,
    fake: Cloud,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    schedule: dict[str, str] | None,
) -> None:
    fake.kubeflow_token = "s3cret"
    over = {"schedule": schedule, "experiment": "nightly", "namespace": "team-1"}
    with monkeypatch.context() as patch:
        patch.delenv("KFP_TOKEN")
        assert kubeflow.submit("--dry-run", **over) == 0
    assert fake.seen == []
    shown = json.loads(capsys.readouterr().out)
    assert kubeflow.submit("--json", **over) == 0
    out = capsys.readouterr()
    made = json.loads(out.out)
    assert "s3cret" not in out.out + out.err + json.dumps(shown)
    find, make, create = shown["requests"]
    ((_, path, headers, body),) = fake.requests(CREATION)
    assert headers["authorization"] == "Bearer s3cret" and create["headers"] == {"Authorization": "Bearer ***"}
    assert path == create["url"].removeprefix(fake.url)
    assert body.pop("experiment_id") == "e-1" and create["body"].pop("experiment_id") == "EXPERIMENT_ID"
    sent = plain(body, *ids(made["labels"], made["job"]))
    assert sent == plain(create["body"], *ids(shown["labels"], shown["job"]))
    ((_, _, _, experiment),) = fake.requests("POST .*/experiments")
    assert experiment == make["body"] == {"display_name": "nightly", "namespace": "team-1"}
    assert [one[1] for one in fake.requests("GET .*experiments.*filter")] == [find["url"].removeprefix(fake.url)]
    assert body["service_account"] == "pipeline-runner"
    assert body["runtime_config"]["pipeline_root"] == "gs://bucket/root"
    if schedule is None:
        assert made["url"] == f"{fake.url}/#/runs/details/r-1"
    else:
        # KFP's cron has seconds in front.
        assert body["trigger"]["cron_schedule"]["cron"] == "TZ=Europe/Amsterdam 0 0 5 * * 1-5"
        assert (body["max_concurrency"], body["mode"], body["namespace"]) == ("1", "ENABLE", "team-1")
        assert made["url"] == f"{fake.url}/#/recurringrun/details/rr-1"


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_a_line_has_one_schedule(
    target: str, request: pytest.FixtureRequest, fake: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    line: Line = request.getfixturevalue(target)
    fake.schedules = [{"displayName": "other-schedule", "name": "s/1", "state": "ACTIVE"}]
    fake.schedules.append({"displayName": "taxi-schedule", "name": "s/2", "state": "COMPLETED"})
    fake.recurring_runs = [{"display_name": "other-schedule", "recurring_run_id": "rr-0"}]
    assert line.submit(schedule=EVERY_MORNING) == 0
    assert line.submit(schedule=EVERY_MORNING) == 1
    told = capsys.readouterr().err
    assert "orchestration.schedule: the line taxi must have no schedule yet. Got" in told
    assert ("schedules/4711" if target == "vertex" else "rr-1") in told and "delete it" in told
    assert len(fake.requests(CREATION)) == 1
    assert line.submit() == 0, "a single run is another matter"


def test_an_experiment_that_is_there_is_taken(kubeflow: Line, fake: Cloud) -> None:
    fake.experiments = {"other": "e-7", "nightly": "e-8"}
    assert kubeflow.submit("--json", experiment="nightly") == 0
    ((_, _, _, body),) = fake.requests(CREATION)
    assert body["experiment_id"] == "e-8" and fake.requests("POST .*/experiments") == []


def test_people_are_told_the_job_and_its_page(vertex: Line, capsys: pytest.CaptureFixture[str]) -> None:
    assert vertex.submit() == 0
    told = capsys.readouterr().out
    assert "a run of taxi on vertex" in told and "console.cloud.google.com/vertex-ai/locations/europe-west4" in told


def test_a_schedule_finds_its_window_in_the_run(vertex: Line, capsys: pytest.CaptureFixture[str]) -> None:
    assert vertex.submit("--dry-run", schedule=EVERY_MORNING, enable_cache=True) == 0
    (call,) = json.loads(capsys.readouterr().out)["requests"]
    spec = call["body"]["createPipelineJobRequest"]["pipelineJob"]["pipelineSpec"]
    task = spec["root"]["dag"]["tasks"]["SpanExampleGen"]
    window = json.loads(task["inputs"]["parameters"]["window"]["runtimeValue"]["constant"])
    assert window == {"base_dir": str(vertex.workplace.folder), "selection": "all"}
    # Its parameters never change, so a cached answer would have the old spans for ever.
    assert task["cachingOptions"] == {}
    assert spec["root"]["dag"]["tasks"]["Trainer"]["cachingOptions"] == {"enableCache": True}


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"image": None}, "orchestration.image: must be set to submit to vertex"),
        ({"project": None}, "orchestration.project: must be set"),
        ({"region": None}, "orchestration.region: must be set"),
        ({"pipeline_root": None}, "orchestration.pipeline_root: must be set"),
        ({"region": "europe-west77"}, "orchestration.region: must be a region of Vertex AI. Got 'europe-west77'"),
        ({"service_account": "runner"}, "orchestration.service_account: must be a service account's e-mail address"),
        ({"project": "My Project"}, "orchestration.project must be a project id such as my-project-1"),
        ({"schedule": {"cron": "0 5 * *"}}, "cron must be cron's five fields"),
    ],
)
def test_a_wrong_config_is_found_without_asking_anyone(
    vertex: Line, fake: Cloud, capsys: pytest.CaptureFixture[str], over: dict[str, Any], said: str
) -> None:
    assert vertex.submit("--dry-run", **over) == 2
    assert said in capsys.readouterr().err
    assert fake.seen == []


def test_data_that_the_steps_could_not_see_is_refused(
    tmp_path: Path, vertex: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    here = write_csv(tmp_path / "trips.csv", taxi_rows()[:2000])
    assert vertex.submit("--dry-run", examples={"input": str(here)}) == 2
    assert f"examples.input: must be below {tmp_path / 'gcs'}" in capsys.readouterr().err


def refused(line: Line, fake: Cloud, capsys: pytest.CaptureFixture[str], code: int, *said: str, **over: Any) -> None:
    assert line.submit(**over) == code
    told = capsys.readouterr().err
    for text in said:
        assert text in told
    assert "next:" in told and "Traceback" not in told
    assert fake.requests(CREATION) == [], "nothing may be submitted"


@pytest.mark.parametrize(
    ("pattern", "status", "code", "said"),
    [
        ("GET .*pipelineJobs", 403, 1, "orchestration.project: must be a project in which you may use Vertex AI"),
        ("GET .*pipelineJobs", 404, 2, "orchestration.project: must be a project that is there. Got 'my-project-1'"),
        ("GET .*pipelineJobs", 400, 2, "orchestration.region: must be a region of Vertex AI Pipelines"),
        ("GET .*pipelineJobs", 503, 1, "orchestration.api_endpoint:"),
        ("POST /token", 400, 1, "orchestration.project: Google Cloud credentials must be accepted"),
        ("HEAD /v2/", 403, 0, ""),
        ("HEAD /v2/", 500, 1, "orchestration.image: the registry of"),
        ("serviceAccounts", 403, 0, ""),
    ],
)
def test_what_a_service_refuses_is_told_with_its_key(
    vertex: Line, fake: Cloud, capsys: pytest.CaptureFixture[str], pattern: str, status: int, code: int, said: str
) -> None:
    fake.refuse = [(pattern, status, {"error": {"code": status, "message": "so it is"}})]
    if code:
        refused(vertex, fake, capsys, code, said)
    else:
        # What may not be seen may be there all the same.
        assert vertex.submit() == 0
        assert "not looked for" in " ".join(capsys.readouterr().out.split())


def test_all_that_is_wrong_is_told_at_once(vertex: Line, fake: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    fake.images, fake.accounts, fake.buckets = set(), set(), {}
    said = (
        "3 things are wrong, and nothing was submitted",
        "orchestration.image: must be an image that is there",
        "orchestration.service_account: must be a service account that is there",
        "orchestration.pipeline_root: must name a bucket that is there. Got 'gs://bucket/root'",
    )
    refused(vertex, fake, capsys, 2, *said)


def test_lacking_permissions_are_named(vertex: Line, fake: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    fake.lacking = {"storage.objects.delete", "iam.serviceAccounts.actAs"}
    refused(vertex, fake, capsys, 1, "Got no storage.objects.delete", "you lack iam.serviceAccounts.actAs")


@pytest.mark.parametrize(
    ("location", "code"), [("EUROPE-WEST4", 0), ("EU", 0), ("EUR4", 0), ("US", 2), ("US-EAST1", 2)]
)
def test_the_bucket_is_where_the_pipeline_runs(
    vertex: Line, fake: Cloud, capsys: pytest.CaptureFixture[str], location: str, code: int
) -> None:
    fake.buckets = {"bucket": location}
    if code:
        refused(
            vertex, fake, capsys, code, "must be in the region europe-west4 of orchestration.region. Got " + location
        )
    else:
        assert vertex.submit() == 0


def test_no_credentials(
    tmp_path: Path, vertex: Line, fake: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    refused(vertex, fake, capsys, 1, "Google Cloud credentials must be there", "gcloud auth application-default login")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("other", 1, "orchestration.token: "),
        (None, 1, "orchestration.token: "),
    ],
)
def test_a_token_that_is_refused(
    kubeflow: Line, fake: Cloud, capsys: pytest.CaptureFixture[str], given: str | None, code: int, said: str
) -> None:
    fake.kubeflow_token = "right"
    refused(kubeflow, fake, capsys, code, said, **({} if given else {"token": None}))


def test_an_endpoint_that_is_something_else(kubeflow: Line, fake: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    fake.refuse = [("healthz", 404, {})]
    refused(kubeflow, fake, capsys, 2, "orchestration.endpoint: ", "healthz must answer as Kubeflow Pipelines does")


def test_an_endpoint_that_does_not_answer(kubeflow: Line, fake: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    refused(kubeflow, fake, capsys, 1, "orchestration.endpoint: ", "ConnectError", endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize(("target", "what"), [("vertex", "pipelineJobs"), ("kubeflow", "/runs")])
def test_a_submission_that_is_refused_says_so(
    tmp_path: Path, fake: Cloud, capsys: pytest.CaptureFixture[str], target: str, what: str
) -> None:
    fake.refuse = [(f"POST .*{what}", 429, {"error": {"code": 429, "message": "quota exceeded"}})]
    assert Line(tmp_path, fake, target).submit() == 1
    told = capsys.readouterr().err
    assert "quota exceeded" in told and "orchestration." in told
