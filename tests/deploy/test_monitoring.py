"""Prometheus and Grafana: each metric, label, job and port that they name exists; the alerts fire when they should."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.capture.metrics import CaptureMetrics
from serving.line_server.shadow import QUEUE, Shadow
from serving.model_server.errors import Code
from serving.model_server.metrics import PATH, Metrics
from tests.deploy.deployed import DEPLOY, ROOT, compose, containers, output, overlay, program, the

PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "conveyor.json").read_text())
GUIDE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
SERVERS_FAULT = "UNAVAILABLE|INTERNAL|UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|DATA_LOSS|ABORTED"

SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
# Prometheus puts these on everything.
TARGET_LABELS = {"job", "instance"}


def expressions() -> dict[str, str]:
    """Returns every query by where it stands."""
    found = {rule["alert"]: rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        (found[f"variable {variable['name']}"],) = re.findall(r"label_values\((.*), \w+\)", variable["query"]["query"])
    return found


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The metrics that the code has, with their labels."""
    metrics = Metrics()
    metrics.request("toy", "Predict", "GRPC", "OK", 0.001)
    metrics.runtime("toy", "Predict", 0.001)
    CaptureMetrics("toy", metrics.registry)
    # It is never started: the first that finds no room is counted as dropped.
    shadow = Shadow("toy", None, lambda _: None, metrics.registry)  # type: ignore[arg-type]
    for _ in range(QUEUE + 1):
        shadow.put(None, 1)  # type: ignore[arg-type]
    found: dict[str, set[str]] = {"up": set()}
    for line in metrics.page().decode().splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"([\w:]+)(?:\{(.*)\})? ", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return found


@pytest.mark.parametrize("place", list(expressions()))
def test_what_is_asked_for_exists(place: str, exported: dict[str, set[str]]) -> None:
    expression = expressions()[place]
    jobs = {job["job_name"] for job in PROMETHEUS["scrape_configs"]}
    named = set()
    for name, matchers in SELECTOR.findall(expression):
        named.add(name)
        assert name in exported, f"{place}: there is no metric {name}"
        for label, value in MATCHER.findall(matchers):
            assert label in exported[name] | TARGET_LABELS, f"{place}: {name} has no label {label}"
            if label == "job":
                assert value in jobs
            if label == "status":
                assert set(value.split("|")) <= set(Code.__members__)
    bare = set(re.findall(r"\b(conveyor_\w+|:tensorflow:[\w:]+)", expression))
    assert bare <= exported.keys()
    known = set().union(*(exported[name] for name in named | bare)) | TARGET_LABELS
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", labels)) <= known, place


def test_what_is_captured_and_lost_is_shown(exported: dict[str, set[str]]) -> None:
    shown = " ".join(expressions().values())
    hidden = {"files", "incomplete"}
    for name in exported:
        if re.fullmatch(r"conveyor_\w+_(total|records|seconds)", name):
            assert name in shown or any(word in name for word in hidden), f"{name} is on no dashboard and in no alert"


def test_the_same_failures_count_everywhere() -> None:
    statuses = {value for one in expressions().values() for value in re.findall(r'status=~"([^"]*)"', one)}
    assert statuses == {SERVERS_FAULT}


def test_the_scrapes_lead_to_the_servers() -> None:
    services = compose()["services"]
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    for name, flag in (("gateway", "--rest-port="), ("tensorflow-serving", "--rest_api_port=")):
        (port,) = (one.removeprefix(flag) for one in services[name]["command"] if one.startswith(flag))
        assert jobs[name]["static_configs"] == [{"targets": [f"{name}:{port}"]}]
        assert jobs[name]["metrics_path"] == PATH
        assert set(services[name]["networks"]) & set(services["prometheus"]["networks"])
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]
    monitoring = (DEPLOY / "tensorflow-serving" / "monitoring.config").read_text()
    assert f'path: "{PATH}"' in monitoring and "enable: true" in monitoring


def test_the_scrapes_of_kubernetes_lead_to_the_pods() -> None:
    (text,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", GUIDE, re.S)
    ports = {
        port["name"] for one in containers(the(overlay("prod"), "Deployment")).values() for port in one.get("ports", [])
    }
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    assert jobs.keys() == {"gateway", "tensorflow-serving"}
    for job in jobs.values():
        assert job["metrics_path"] == PATH
        assert job["relabel_configs"][0]["regex"] in ports


def test_grafana_finds_its_dashboard_and_its_data() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    uids = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
    assert uids == {source["uid"]}
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "conveyor.yml").read_text())["providers"]
    grafana = compose()["services"]["grafana"]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in grafana["volumes"]}
    assert (DEPLOY / mounted[provider["options"]["path"]] / "conveyor.json").is_file()
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (DEPLOY / mounted[str(home.parent)] / home.name).is_file()


def test_the_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


PROMTOOL = "Debian's package prometheus"


def test_prometheus_takes_its_config_and_its_alerts() -> None:
    promtool = program("promtool", PROMTOOL)
    output(promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    output(promtool, "check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "prometheus" / "alerts.yml")


def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    promtool = program("promtool", PROMTOOL)
    rules = [
        {"record": f"query:{number}", "expr": expression.replace("$line", "toy")}
        for number, expression in enumerate(expressions().values())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in output(promtool, "check", "rules", file)


def test_the_alerts_fire_when_they_should() -> None:
    promtool = program("promtool", PROMTOOL)
    cases = Path(__file__).with_name("alerts_cases.yml")
    covered = {
        one["alertname"] for test in yaml.safe_load(cases.read_text())["tests"] for one in test["alert_rule_test"]
    }
    assert covered == {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}
    output(promtool, "test", "rules", cases)
