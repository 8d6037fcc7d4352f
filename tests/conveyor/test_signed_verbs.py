"""The verbs that look at signatures: what they refuse, what they say, and with which exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from conveyor.cli import main
from pipeline.record import RunRecord, save
from pipeline.state import State
from schema.line import Line
from serving.signing.keys import key_id
from serving.signing.version_files import SIGNATURE_FILE
from tests.serving.model_server.toy_models import ToyModels
from tests.serving.signing.signed_line import SignedLine, a_key, write_keys

KEY_ID = key_id(a_key(1).public_key())


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> ToyModels:
    return ToyModels(tmp_path_factory.mktemp("toy-models"))


class Place:
    """A signed line, its config and its state.

    Attributes:
        line: its ledger and its models.
        public: the trusted key's file.
    """

    def __init__(self, folder: Path, models: ToyModels) -> None:
        self.folder = folder
        self.state = State(folder / "home" / "toy", "toy")
        self.line = SignedLine(self.state.root, models)
        self.state.runs.mkdir(parents=True)
        _, self.public = write_keys(folder, 1)
        write_keys(folder, 2)

    def configure(self, **serving: Any) -> None:
        """Writes the line config, and a run that had it."""
        config = {"name": "toy", "task": "regression", "label": {"name": "y"}, "examples": {"input": "t.csv"}}
        config["serving"] = serving
        (self.folder / "line.yaml").write_text(yaml.safe_dump(config))
        stored = Line.model_validate(config).model_dump(mode="json", by_alias=True)
        save(self.state, RunRecord("r", "toy", "now", config=stored, base_dir=str(self.folder)))


@pytest.fixture
def place(tmp_path: Path, toy_models: ToyModels, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("CONVEYOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, toy_models)


def test_releases_say_who_has_signed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.line.push(1, number=None)
    place.line.push(2)
    assert main(["releases", "toy"]) == 0
    out = capsys.readouterr().out
    assert KEY_ID[:12] in out and "unsigned" in out and "verified" not in out
    assert main(["releases", "toy", "--json"]) == 0
    two, one = json.loads(capsys.readouterr().out)
    assert (one["key_id"], two["key_id"]) == (None, KEY_ID)
    assert "verified" not in two


def test_releases_verify(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.line.push(1, number=None)
    place.line.push(2, 3)
    # One from before there was a key, which is not in service, is no alarm.
    assert main(["releases", "toy", "--verify", "--trusted-key", "1.pub.pem", "--json"]) == 0
    three, _, one = json.loads(capsys.readouterr().out)
    assert (three["verified"], three["objection"]) == (True, "")
    assert one["verified"] is False and "the release must be signed" in one["objection"]
    changed = place.line.base / "2" / "saved_model.pb"
    changed.open("ab").write(b"\0")
    assert main(["releases", "toy", "--verify", "--trusted-key", "1.pub.pem"]) == 1
    captured = capsys.readouterr()
    assert "refused" in captured.out and "verified" in captured.out
    assert f"{changed}: it must be as it was signed" in captured.err
    assert main(["releases", "toy", "--verify", "--trusted-key", "2.pub.pem"]) == 1


def test_an_unsigned_version_in_service_is_an_alarm(place: Place) -> None:
    place.line.push(1)
    (place.line.base / "1" / SIGNATURE_FILE).unlink()
    assert main(["releases", "toy", "--verify", "--trusted-key", "1.pub.pem"]) == 1


def test_the_keys_of_the_newest_run_are_taken(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.line.push(1)
    place.configure(trusted_keys=["1.pub.pem"])
    assert main(["releases", "toy", "--verify"]) == 0
    place.public.unlink()
    assert main(["releases", "toy", "--verify"]) == 2
    assert "serving.trusted_keys must be a file that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["rollback", "toy"], ["canary", "toy", "--version", "1", "--share", "0.5"], ["shadow", "toy", "--version", "1"]],
)
def test_what_is_unsigned_is_not_put_into_service(
    place: Place, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    place.line.push(1, number=None)
    place.line.push(2)
    before = place.line.ledger.path.read_bytes()
    assert main([*words, "--require-signed", "--trusted-key", "1.pub.pem"]) == 1
    assert "the release must be signed" in capsys.readouterr().err
    place.configure(require_signed=True, trusted_keys=["1.pub.pem"])
    assert main(words) == 1
    assert place.line.ledger.path.read_bytes() == before
    place.configure()
    assert main(words) == 0


def test_a_canary_that_was_changed_is_not_promoted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.line.push(1, 2)
    place.configure(require_signed=True, trusted_keys=["1.pub.pem"])
    assert main(["canary", "toy", "--version", "2", "--share", "0.5"]) == 0
    (place.line.base / "2" / "more").write_bytes(b"")
    assert main(["promote", "toy"]) == 1
    assert "2/more: it must be one of the files that were signed" in capsys.readouterr().err
    (place.line.base / "2" / "more").unlink()
    assert main(["promote", "toy"]) == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["serve", "line.yaml", "--require-signed"], "signed releases need at least one trusted key"),
        (["serve", "line.yaml", "--trusted-key", "1.pub.pem"], "--trusted-key must come with --require-signed"),
        (["serve", "line.yaml", "--require-signed", "--trusted-key", "1.key"], "Got a private key instead"),
        (
            ["gateway", "line.yaml", "--upstream", "127.0.0.1:1", "--require-signed", "--trusted-key", "1.pub.pem"],
            "must lead the server behind it by its model config file",
        ),
        (["rollback", "toy", "--trusted-key", "1.pub.pem"], "--trusted-key must come with --require-signed"),
        (["releases", "toy", "--verify"], "signed releases need at least one trusted key"),
        (["releases", "toy", "--trusted-key", "1.pub.pem"], "--trusted-key must come with --verify"),
        (
            ["batch", "line.yaml", "--input", "t.csv", "--output", "out", "--require-signed"],
            "signed releases need at least one trusted key",
        ),
    ],
)
def test_wrong_options_are_usage_errors(
    place: Place, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    place.configure()
    assert main(words) == 2
    assert complaint in capsys.readouterr().err


def test_a_server_with_nothing_that_may_be_served_ends(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.line.push(1)
    place.configure(require_signed=True, trusted_keys=["1.pub.pem"], capture={"enabled": False})
    (place.line.base / "1" / "saved_model.pb").open("ab").write(b"\0")
    assert main(["serve", "line.yaml", "--port", "0", "--rest-port", "0", "--backend", "embedded"]) == 1
    assert "1/saved_model.pb: it must be as it was signed" in capsys.readouterr().err
