"""`conveyor replay` on a line of toy models: the embedded server's own classes, exit codes, and changed folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from conveyor import cli
from schema.serving import CaptureConfig
from serving.base_path import WITHDRAWN_SUFFIX
from serving.capture.hook import CaptureHook
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.model_digest import model_digest
from serving.replay.answerers import LocalModel
from tests.serving.capture.exchanges import exchange, predict_request, predict_response
from tests.serving.model_server.toy_models import ToyModels
from tests.serving.signing.signed_line import sign, write_keys


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    """Writes toy models; see `ToyModels`."""
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


class Toy:
    """A line `toy` in a folder of its own; version N answers x / 2 + N."""

    def __init__(self, folder: Path, models: ToyModels) -> None:
        self.state = folder / "home" / "toy"
        self.base = self.state / "serving_model" / "toy"
        self.folder = folder
        line = "name: toy\ntask: regression\nlabel: {name: y}\nexamples: {input: t.csv}\n"
        (folder / "line.yaml").write_text(line)
        (self.state / "runs").mkdir(parents=True)
        for version in (1, 2):
            digest = model_digest(models.write(self.base, version, offset=float(version)))
            Ledger(self.state / "releases.jsonl").append(
                LedgerEvent(
                    event="pushed",
                    version=version,
                    run_id=f"run-{version}",
                    model_digest=digest,
                    verdict="pushed",
                    who="ada",
                    when=f"2026-09-0{version}T00:00:00+00:00",
                )
            )

    def capture(self, number: int, version: int, *, offset: float | None = None, request_id: str = "") -> None:
        x = np.array([number, 1], np.float32)
        answer = predict_response(version, "serving_default", y=x / 2 + np.float32(offset or version))
        asked = exchange(
            number,
            version=version,
            request=predict_request("serving_default", x=x),
            response=answer,
            signature="serving_default",
            **({"request_id": request_id} if request_id else {}),
        )
        with CaptureHook(self.state / "capture", "toy", CaptureConfig()) as hook:
            hook.done(asked)


@pytest.fixture
def toy(tmp_path: Path, toy_models: ToyModels, monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Toy(tmp_path, toy_models)


def replay(toy: Toy, capsys: pytest.CaptureFixture[str], *args: str, expect: int = 0) -> dict[str, Any]:
    assert cli.main(["replay", str(toy.folder), "--json", *args]) == expect
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_equal_different_withdrawn_and_tampered(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        toy.capture(number, 1)
    toy.capture(5, 2)
    (toy.base / "2").rename(toy.base / f"2{WITHDRAWN_SUFFIX}")
    document = replay(toy, capsys)
    assert document["requests"] == {"asked": 4, "equal": 4, "different": 0, "skipped": 0, "rows": 8}
    assert [version["changed"] for version in document["versions"]] == [False, False]

    toy.capture(6, 1, offset=1.25)
    document = replay(toy, capsys, "--limit", "2", expect=1)
    (different,) = document["different"]
    assert (document["requests"]["asked"], different["request_id"]) == (2, "id-000006")
    assert different["outputs"][0]["max_abs"] == 0.25
    assert replay(toy, capsys, "--request-id", "id-000005")["requests"]["asked"] == 1
    assert replay(toy, capsys, "--request-id", "id-000005", "--version", "1", expect=1)["outputs"]["y"]["max_abs"] == 1

    proto = toy.base / "1" / "saved_model.pb"
    proto.write_bytes(proto.read_bytes().replace(b"\x00\x00\x80?", b"\x00\x00\x00@"))
    document = replay(toy, capsys, "--request-id", "id-000001", expect=1)
    assert document["versions"][0]["changed"] and document["versions"][0]["found"]


def test_what_is_not_signed_is_not_loaded_where_signatures_are_required(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.capture(1, 1)
    toy.capture(2, 2)
    _, public = write_keys(toy.folder)
    sign(toy.base / "1", Ledger(toy.state / "releases.jsonl").state().entries[1].pushed)
    with (toy.folder / "line.yaml").open("a") as file:
        file.write(f"serving: {{require_signed: true, trusted_keys: [{public.name}]}}\n")
    document = replay(toy, capsys, expect=1)
    assert [(one["version"], one["refused"]) for one in document["versions"]] == [(1, False), (2, True)]
    assert document["requests"]["equal"] == 1
    assert "must be signed" in document["skipped"][0]["reason"]
    with mock.patch.object(LocalModel, "__init__", side_effect=AssertionError("loaded")):
        (toy.base / "1" / "more").write_text("more")
        document = replay(toy, capsys, "--request-id", "id-000001", expect=1)
    assert "an additional file" in document["skipped"][0]["reason"]
    assert cli.main(["replay", str(toy.folder)]) == 1
    assert "is not what a trusted key has signed" in " ".join(capsys.readouterr().out.split())


def test_what_a_replay_was_captured_as_is_not_asked_again(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.capture(1, 1)
    toy.capture(2, 1, offset=9, request_id="replay-id-000001")
    assert replay(toy, capsys)["requests"]["asked"] == 1
    assert cli.main(["replay", str(toy.folder)]) == 0
    assert "1 requests (2 rows) asked again in this process: 1 equal" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--request-id", "no"], 2, "must be the id of a captured request"),
        (["--version", "9"], 2, "one that was released: 1, 2"),
        (["--request-id", "a", "--since", "1h"], 2, "must not be given with --since"),
        (["--tls"], 2, "must go with --server"),
        (["--server", "http://x"], 2, "must be HOST:PORT"),
        (["--server", "127.0.0.1:1", "--deadline", "5"], 1, "127.0.0.1:1 must answer"),
    ],
)
def test_wrong_calls(toy: Toy, capsys: pytest.CaptureFixture[str], args: list[str], code: int, message: str) -> None:
    toy.capture(1, 1)
    assert cli.main(["replay", str(toy.folder), *args]) == code
    assert message in capsys.readouterr().err
