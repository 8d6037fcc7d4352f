"""The OpenAPI description of the REST API, held against the server."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.model_server import rest_path
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.metrics import PATH, Metrics
from serving.model_server.rest_server import RestServer
from serving.model_server.version_state import State

FILE = Path(__file__).parents[3] / "docs" / "rest-api.openapi.yaml"
SPEC: dict[str, Any] = yaml.safe_load(FILE.read_text())

# Those left out ask for what TensorFlow Serving does not do: 405 for other methods, an error for each key too many.
# Nor can a description tell which tensors a model takes.
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


def answerable() -> dict[str, Any]:
    """The description, with parameters that lead somewhere."""
    spec = copy.deepcopy(SPEC)
    parameters = spec["components"]["parameters"]
    parameters["model"]["schema"] = {"type": "string", "enum": ["toy", "toy", "m"]}
    parameters["version"]["schema"]["enum"] = [1, 9]
    parameters["label"]["schema"] = {"type": "string", "enum": ["stable", "none"]}
    del spec["components"]["securitySchemes"], spec["security"]
    return spec


# Other methods than the described ones are in test_rest_app.py.
CONFIG = schemathesis.Config.from_dict({"phases": {"coverage": {"unexpected-methods": []}}})
SCHEMA = schemathesis.openapi.from_dict(answerable(), config=CONFIG)


@pytest.fixture(scope="module")
def server(toy_manager: Manager) -> Iterator[RestServer]:
    server = RestServer(toy_manager, address="127.0.0.1", metrics=Metrics(), metrics_path=PATH, probes=True)
    server.start()
    yield server
    server.stop(grace=5)


@pytest.fixture(scope="module")
def url(server: RestServer) -> str:
    return f"http://127.0.0.1:{server.port}"


@SCHEMA.parametrize()
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_server_keeps_to_its_description(case: schemathesis.Case, url: str) -> None:
    case.call_and_validate(base_url=url, checks=list(CHECKS), timeout=120)


def validator(schema: str) -> Draft4Validator:
    return Draft4Validator({"$ref": f"#/components/schemas/{schema}", "components": SPEC["components"]})


@pytest.mark.parametrize(
    ("method", "path", "body", "schema"),
    [
        ("POST", "/v1/models/toy:predict", {"instances": [1, 2.5]}, "PredictResponse"),
        ("POST", "/v1/models/toy:predict", {"inputs": {"x": [1]}}, "PredictResponse"),
        (
            "POST",
            "/v1/models/toy/versions/1:predict",
            {"signature_name": "predict_multi", "instances": [{"words": {"b64": "YQ=="}, "counts": 1}]},
            "PredictResponse",
        ),
        (
            "POST",
            "/v1/models/toy:classify",
            {"signature_name": "classify", "examples": [{"x": 1.0}]},
            "ClassifyResponse",
        ),
        ("POST", "/v1/models/toy:regress", {"signature_name": "regress", "examples": [{}]}, "RegressResponse"),
        ("GET", "/v1/models/toy", None, "StatusResponse"),
        ("GET", "/v1/models/toy/metadata", None, "MetadataResponse"),
        ("GET", "/v1/models/m", None, "Error"),
        ("POST", "/v1/models/toy:predict", {}, "Error"),
    ],
)
def test_answers_are_described(url: str, method: str, path: str, body: Any, schema: str) -> None:
    response = httpx.request(method, url + path, json=body)
    assert (response.status_code == 200) == (schema != "Error")
    assert response.headers["x-request-id"]
    validator(schema).validate(response.json())
    others = {"PredictResponse", "ClassifyResponse", "StatusResponse", "MetadataResponse", "Error"} - {schema}
    assert not any(validator(other).is_valid(response.json()) for other in others - {"ClassifyResponse"})


def test_examples_are_what_they_are_examples_of() -> None:
    bodies = SPEC["components"]["requestBodies"] | SPEC["components"]["responses"]
    for name, body in bodies.items():
        for content in body["content"].values():
            values = [example["value"] for example in content.get("examples", {}).values()]
            for value in [*values, content["example"]] if "example" in content else values:
                resolved = {**content["schema"], "components": SPEC["components"]}
                assert not list(Draft4Validator(resolved).iter_errors(value)), name


def test_every_path_of_the_api_is_described() -> None:
    described = {
        (method.upper(), path) for path, item in SPEC["paths"].items() for method in item if method != "parameters"
    }
    versions = ("", "/versions/{version}", "/labels/{label}")
    wanted = {("POST", f"/v1/models/{{model}}{v}:{a}") for v in versions for a in ("predict", "classify", "regress")}
    wanted |= {("GET", f"/v1/models/{{model}}{v}{a}") for v in versions for a in ("", "/metadata")}
    wanted |= {("GET", path) for path in (PATH, "/healthz", "/readyz")}
    assert described == wanted


@given(
    st.sampled_from([path for path in SPEC["paths"] if path.startswith("/v1/")]),
    st.text(min_size=1),
    st.integers(0, 2**63 - 1),
    st.text(min_size=1),
)
def test_every_described_path_is_understood(template: str, model: str, version: int, label: str) -> None:
    path = template.format(model=quote(model, safe=""), version=version, label=quote(label, safe=""))
    action = template.rpartition("}")[2]
    found = rest_path.target("POST" if ":" in action else "GET", path)
    assert found is not None
    assert found.action == action.strip(":/")
    assert found.query() == ModelSpecQuery(
        model,
        version=version if "versions" in template else None,
        label=label if "labels" in template else None,
    )


def test_states_and_codes_are_described() -> None:
    from serving.model_server.errors import Code

    item = SPEC["components"]["schemas"]["StatusResponse"]["properties"]["model_version_status"]["items"]["properties"]
    assert item["state"]["enum"] == [state.name for state in State]
    assert item["status"]["properties"]["error_code"]["enum"] == [code.name for code in Code]
