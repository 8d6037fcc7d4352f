"""A local server that answers as the services do: Vertex AI, IAM, OAuth, Cloud Storage, a Docker registry and KFP."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

Answer = tuple[int, Any]
_TYPES = "type.googleapis.com/google.cloud.aiplatform.v1"


@dataclasses.dataclass
class Cloud:
    """The server's state.

    Attributes:
        url: where it listens.
        seen: each request: method, path with query, headers, body.
        refuse: (regular expression of `METHOD path`, status, JSON) for requests that are to fail.
        buckets: bucket to its location.
        lacking: permissions that nobody has.
        images: `repository:tag` of the registry.
        registry_token: is asked for by the registry's challenge, where set.
        accounts: service accounts.
        kubeflow_token: the only one that KFP accepts, where set.
        experiments: KFP's, name to id.
        recurring_runs: KFP's, as JSON.
        schedules: Vertex AI's, as JSON.
        jobs: custom jobs, name to JSON.
        endpoints: endpoints, id to JSON.
        models: Models, id to JSON.
        deploying: the error of each deployment, where set.
        carry_out: is called with a new custom job and returns its last state; the job goes on for ever without.
    """

    url: str = ""
    seen: list[tuple[str, str, dict[str, str], Any]] = dataclasses.field(default_factory=list)
    refuse: list[tuple[str, int, Any]] = dataclasses.field(default_factory=list)
    buckets: dict[str, str] = dataclasses.field(default_factory=lambda: {"bucket": "EUROPE-WEST4"})
    lacking: set[str] = dataclasses.field(default_factory=set)
    images: set[str] = dataclasses.field(default_factory=lambda: {"team/conveyor:1"})
    registry_token: str | None = None
    accounts: set[str] = dataclasses.field(default_factory=lambda: {"trainer@my-project-1.iam.gserviceaccount.com"})
    kubeflow_token: str | None = None
    experiments: dict[str, str] = dataclasses.field(default_factory=dict)
    recurring_runs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    schedules: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    endpoints: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    models: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    deploying: dict[str, Any] | None = None
    operations: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    carry_out: Callable[[dict[str, Any]], str] | None = None

    @property
    def host(self) -> str:
        """The registry's name in an image."""
        return self.url.removeprefix("http://")

    def requests(self, pattern: str) -> list[tuple[str, str, dict[str, str], Any]]:
        """Returns the requests whose `METHOD path` matches."""
        return [one for one in self.seen if re.search(pattern, f"{one[0]} {one[1]}")]

    def let_in(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """Gives this process credentials whose token server is this one."""
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(self._key_file(folder)))
        # What google-auth would ask besides: nothing may leave this machine.
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    def _key_file(self, folder: Path) -> Path:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        document = {
            "type": "service_account",
            "project_id": "my-project-1",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "me@my-project-1.iam.gserviceaccount.com",
            "token_uri": f"{self.url}/token",
        }
        path = folder / "key.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """Answers a request."""
        for pattern, status, said in self.refuse:
            if re.search(pattern, f"{method} {path}"):
                return status, said
        where, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if where == "/token":
            return 200, {"access_token": "ya29.fake", "expires_in": 3600, "token_type": "Bearer"}
        if where.startswith("/apis/v2beta1/"):
            return self._kubeflow(method, where.removeprefix("/apis/v2beta1/"), query, headers, body)
        if where.startswith("/storage/v1/b/"):
            return self._storage(where, query)
        if where.startswith(("/v2/", "/registry-token")):
            return self._registry(where, headers)
        if "/serviceAccounts/" in where:
            email = where.rpartition("/")[2].partition(":")[0]
            granted = [one for one in body["permissions"] if one not in self.lacking]
            return (200, {"permissions": granted}) if email in self.accounts else (404, {"error": {"code": 404}})
        return self._vertex(method, where.removeprefix("/v1/"), query, body)

    def _vertex(self, method: str, name: str, query: dict[str, list[str]], body: Any) -> Answer:
        kind = name.split("/")[4].partition(":")[0]
        if kind == "pipelineJobs":
            if method == "GET":
                return 200, {"pipelineJobs": []}
            return 200, {**body, "name": f"{name}/{query['pipelineJobId'][0]}"}
        if kind == "schedules" and method == "GET":
            wanted = query["filter"][0].removeprefix('display_name="').removesuffix('"')
            return 200, {"schedules": [one for one in self.schedules if one["displayName"] == wanted]}
        if kind == "schedules":
            self.schedules.append({**body, "name": f"{name}/4711", "state": "ACTIVE"})
            return 200, self.schedules[-1]
        if "/operations/" in name:
            return 200, self.operations[name]
        if kind in ("endpoints", "models"):
            return self._serving(method, kind, name, body)
        assert kind == "customJobs", name
        if method == "POST" and name.endswith(":cancel"):
            self.jobs[name.removesuffix(":cancel")]["state"] = "JOB_STATE_CANCELLED"
            return 200, {}
        if method == "POST":
            made = {**body, "name": f"{name}/{len(self.jobs) + 1}", "state": "JOB_STATE_RUNNING"}
            self.jobs[made["name"]] = made
            if self.carry_out is not None:
                made["state"] = self.carry_out(made)
            return 200, {**made, "state": "JOB_STATE_PENDING"}
        if name in self.jobs:
            return 200, self.jobs[name]
        wanted = query["filter"][0].removeprefix('display_name="').removesuffix('"')
        return 200, {"customJobs": [job for job in self.jobs.values() if job["displayName"] == wanted]}

    def _serving(self, method: str, kind: str, name: str, body: Any) -> Answer:
        parent, _, identity = name.partition(f"/{kind}/")
        identity, _, verb = identity.partition(":")
        if method == "GET":
            found = (self.endpoints if kind == "endpoints" else self.models).get(identity)
            return (200, {**found, "name": name}) if found is not None else (404, {"error": {"code": 404}})
        if name.endswith("models:upload"):
            made = f"{name.removesuffix(':upload')}/{body['modelId']}"
            self.models[body["modelId"]] = body["model"]
            return self._operation(name.split("/models")[0], "UploadModelResponse", {"model": made})
        endpoint = self.endpoints[identity]
        if verb == "deployModel":
            if self.deploying is not None:
                return self._operation(parent, "", error=self.deploying)
            made = {**body["deployedModel"], "id": str(len(self.operations) + 100)}
            endpoint.setdefault("deployedModels", []).append(made)
            endpoint["trafficSplit"] = {made["id"]: body["trafficSplit"]["0"]}
            return self._operation(parent, "DeployModelResponse", {"deployedModel": made})
        assert verb == "undeployModel", name
        left = [one for one in endpoint["deployedModels"] if one["id"] != body["deployedModelId"]]
        endpoint["deployedModels"] = left
        return self._operation(parent, "UndeployModelResponse", {})

    def _operation(self, parent: str, kind: str, response: Any = None, error: Any = None) -> Answer:
        """Answers as a long-running operation does: not done at first, done when asked again."""
        name = f"{parent}/operations/{len(self.operations) + 1}"
        said = {"error": error} if error else {"response": {"@type": f"{_TYPES}.{kind}", **response}}
        self.operations[name] = {"name": name, "done": True, **said}
        return 200, {"name": name, "done": False}

    def _storage(self, where: str, query: dict[str, list[str]]) -> Answer:
        name = where.split("/")[4]
        if name not in self.buckets:
            return 404, {"error": {"code": 404, "message": "The specified bucket does not exist."}}
        if where.endswith("/iam/testPermissions"):
            return 200, {"permissions": [one for one in query["permissions"] if one not in self.lacking]}
        location = self.buckets[name]
        kind = "multi-region" if location in ("EU", "US", "ASIA") else "region"
        return 200, {"kind": "storage#bucket", "name": name, "location": location, "locationType": kind}

    def _registry(self, where: str, headers: dict[str, str]) -> Answer:
        if where == "/registry-token":
            return 200, {"token": self.registry_token}
        if self.registry_token and headers.get("authorization") != f"Bearer {self.registry_token}":
            return 401, {}
        repository, _, tag = where.removeprefix("/v2/").partition("/manifests/")
        return (200 if f"{repository}:{tag}" in self.images else 404), {}

    def _kubeflow(
        self, method: str, what: str, query: dict[str, list[str]], headers: dict[str, str], body: Any
    ) -> Answer:
        if self.kubeflow_token and headers.get("authorization") != f"Bearer {self.kubeflow_token}":
            return 401, {"error": "unauthorized"}
        if what == "healthz":
            return 200, {"multi_user": False}
        if what == "experiments" and method == "POST":
            identity = self.experiments.setdefault(body["display_name"], f"e-{len(self.experiments) + 1}")
            return 200, {**body, "experiment_id": identity}
        if what == "experiments":
            found = self.experiments
            if "filter" in query:
                (predicate,) = json.loads(query["filter"][0])["predicates"]
                found = {key: value for key, value in found.items() if key == predicate["string_value"]}
            return 200, {"experiments": [{"experiment_id": one, "display_name": key} for key, one in found.items()]}
        if what == "runs":
            return 200, {**body, "run_id": "r-1"}
        assert what == "recurringruns", what
        if method == "GET":
            (predicate,) = json.loads(query["filter"][0])["predicates"]
            found = [one for one in self.recurring_runs if one["display_name"] == predicate["string_value"]]
            return 200, {"recurringRuns": found} if found else {}
        self.recurring_runs.append({**body, "recurring_run_id": "rr-1"})
        return 200, self.recurring_runs[-1]


@contextlib.contextmanager
def cloud() -> Iterator[Cloud]:
    """Starts the server."""
    state = Cloud()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _all(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                body = json.loads(raw) if raw else None
            except ValueError:
                body = raw.decode(errors="replace")
            headers = {key.lower(): value for key, value in self.headers.items()}
            state.seen.append((self.command, self.path, headers, body))
            status, said = state.answer(self.command, self.path, headers, body)
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            if status == 401:
                self.send_header("WWW-Authenticate", f'Bearer realm="{state.url}/registry-token",service="registry"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_POST = do_HEAD = _all  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def in_a_process(env: dict[str, str], cwd: Path) -> Callable[[dict[str, Any]], str]:
    """Returns a `carry_out` that runs a custom job's very command."""

    def carry_out(job: dict[str, Any]) -> str:
        (pool,) = job["jobSpec"]["workerPoolSpecs"]
        container = pool["containerSpec"]
        done = subprocess.run([*container["command"], *container["args"]], cwd=cwd, env=env, check=False)
        return "JOB_STATE_SUCCEEDED" if done.returncode == 0 else "JOB_STATE_FAILED"

    return carry_out
