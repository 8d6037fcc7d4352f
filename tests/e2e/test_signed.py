"""A line whose releases are signed, as a user runs and serves it."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.line_runs import Workplace, merge, write_csv
from tests.e2e.test_lines import QUICK, census_rows
from tests.serving.signing.signed_line import a_key, private_pem, write_keys


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("signed")
    write_keys(folder, 1)
    write_keys(folder, 2)
    write_csv(folder / "census.csv", census_rows(1500))
    over = {
        "evaluator": {"thresholds": {"auc": {"value_threshold": {"lower_bound": 0.5}}}},
        "pusher": {"signing": {"key_file": "1.key"}},
        "serving": {"require_signed": True, "trusted_keys": ["1.pub.pem", "2.pub.pem"]},
    }
    return Workplace(folder).shipped("census", **merge(QUICK, over))


@pytest.fixture(scope="module")
def first(place: Workplace) -> dict[str, Any]:
    return place.run()


@contextlib.contextmanager
def serving(place: Workplace) -> Iterator[str]:
    """Serves the line and gives the address of REST."""
    process = place.start("serve", str(place.folder), "--port=0", "--rest-port=0", "--backend=embedded", "--json")
    assert process.stdout is not None
    text = ""
    try:
        for line in process.stdout:
            text += line
            # It is printed over several lines, the last of which is this.
            if line == "}\n":
                break
        yield json.loads(text)["rest"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_a_signed_release_is_served_until_a_byte_is_another(place: Workplace, first: dict[str, Any]) -> None:
    assert first["verdict"]["outcome"] == "pushed"
    found = json.loads(place.conveyor("releases", "census", "--verify", "--json").stdout)
    assert [(release["version"], release["verified"]) for release in found] == [(1, True)]
    with serving(place) as address:
        status = httpx.get(f"http://{address}/v1/models/census", timeout=60).json()["model_version_status"][0]
        assert (status["version"], status["state"]) == ("1", "AVAILABLE")
    version = place.folder / "state" / "census" / "serving_model" / "census" / "1"
    for name in ("variables/variables.data-00000-of-00001", "assets/marital_index", "release.dsse.json"):
        content = (version / name).read_bytes()
        (version / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        done = place.conveyor("serve", str(place.folder), "--port=0", "--rest-port=0", "--backend=embedded")
        assert done.returncode == 1 and f"{name}: " in done.stderr, done.stderr
        (version / name).write_bytes(content)
    ledger = place.folder / "state" / "census" / "releases.jsonl"
    content = ledger.read_bytes()
    ledger.write_bytes(content.replace(b'"verdict":"pushed"', b'"verdict":"pushEd"'))
    done = place.conveyor("batch", str(place.folder), "--input", "census.csv", "--output", "out")
    assert done.returncode == 1
    assert "verdict of the ledger's entry must be 'pushed', as it was signed. Got 'pushEd'" in done.stderr
    ledger.write_bytes(content)


@pytest.mark.slow
def test_another_key_from_the_environment_and_step_by_step(
    place: Workplace, first: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = (place.folder / "line.yaml").read_text()
    (place.folder / "line.yaml").write_text(config.replace("key_file: 1.key", "key: ${RELEASE_KEY}"))
    nothing = place.conveyor("run", str(place.folder))
    assert nothing.returncode == 2 and "the environment variable RELEASE_KEY must be set" in nothing.stderr
    monkeypatch.setenv("RELEASE_KEY", "no key")
    nothing = place.conveyor("run", str(place.folder))
    assert nothing.returncode == 2 and "pusher.signing.key must be an Ed25519 private key" in nothing.stderr
    pem = private_pem(a_key(2)).decode()
    monkeypatch.setenv("RELEASE_KEY", pem)
    record = place.run("--as-compiled")
    # The model is the same; what was signed by another key is another release.
    assert record["verdict"]["model_digest"] == first["verdict"]["model_digest"]
    assert (record["verdict"]["version"], record["verdict"]["outcome"]) == (2, "pushed")
    found = json.loads(place.conveyor("releases", "census", "--verify", "--json").stdout)
    assert [release["verified"] for release in found] == [True, True]
    assert found[0]["key_id"] != found[1]["key_id"]
    secret = pem.splitlines()[1].encode()
    kept = [path for path in (place.folder / "state").rglob("*") if path.is_file()]
    assert [path for path in kept if secret in path.read_bytes()] == []
