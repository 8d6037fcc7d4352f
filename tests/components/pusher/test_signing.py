"""The Pusher signs what it releases, before anybody sees it, and whatever becomes of the process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.pusher import push as push_module
from components.pusher import signing as signing_module
from components.pusher.push import Candidate, PushResult, push
from components.pusher.signed_facts import facts
from components.pusher.signing import Signer, SigningOrder, order_key, signer
from schema.errors import ConfigError, ReleaseError
from serving.ledger import Ledger
from serving.releases import rollback
from serving.signing.keys import key_id
from serving.signing.statement import Origin, Statement
from serving.signing.trust import claimed_key
from serving.signing.version_files import SIGNATURE_FILE
from tests.serving.signing.signed_line import FACTS, ORIGIN, a_key, private_pem, trust, write_keys


def digest(folder: Path) -> str:
    """A digest that needs no SavedModel, and that some files do not count for."""
    return (folder / "saved_model.pb").read_text()


def signer_of(number: int, origin: Origin = ORIGIN) -> Signer:
    key = a_key(number)
    return Signer("toy", key, key_id(key.public_key()), origin, FACTS)


class Line:
    """A ledger, its base path and models to push there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "releases.jsonl")
        self.base = folder / "serving_model" / "toy"

    def push(self, name: str, by: Signer | None = None) -> PushResult:
        model = self.folder / "models" / name
        if not model.exists():
            (model / "assets.extra").mkdir(parents=True)
            (model / "saved_model.pb").write_text(name)
            (model / "assets.extra" / "warm-up").write_text(name)
        candidate = Candidate(model, name, f"uri-of-{name}", f"run-of-{name}")
        return push(candidate, self.base, self.ledger, digest=digest, signer=by)

    def check(self, version: int, number: int = 1) -> Statement:
        return trust(number).check(self.base / str(version), self.ledger.state(), version)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.base.iterdir() if path.name != ".push.lock")


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_what_is_pushed_is_signed(line: Line) -> None:
    line.push("a", signer_of(1))
    line.push("b", signer_of(1))
    predicate = line.check(2).predicate
    assert (predicate.version, predicate.run_id, predicate.model_digest) == (2, "run-of-b", "b")
    assert predicate.origin == ORIGIN and predicate.verdict.outcome == "pushed"
    assert set(line.check(1).files) == {"saved_model.pb", "assets.extra/warm-up"}
    assert line.names() == ["1", "2"]


def test_another_commit_alone_makes_no_new_version(line: Line) -> None:
    line.push("a", signer_of(1))
    again = line.push("a", signer_of(1, ORIGIN.model_copy(update={"git_commit": "9" * 40})))
    assert again.outcome == "already live"
    assert line.check(1).predicate.origin == ORIGIN


def test_a_model_that_is_live_unsigned_or_by_another_key_is_released_anew(line: Line) -> None:
    line.push("a")
    assert claimed_key(line.base / "1") is None
    assert line.push("a", signer_of(1)).version == 2
    line.check(2)
    assert line.push("a", signer_of(2)).version == 3
    line.check(3, number=2)
    # Without a signer, what is signed stays as it is.
    assert line.push("a").outcome == "already live"


@pytest.mark.parametrize("name", ["assets.extra/warm-up", SIGNATURE_FILE, "more"])
def test_a_live_version_that_was_changed_is_told_of_and_not_signed_again(line: Line, name: str) -> None:
    line.push("a", signer_of(1))
    path = line.base / "1" / name
    content = path.read_bytes() if path.exists() else b""
    path.write_bytes(content.replace(b'"sig":"', b'"sig":"AAAA', 1) if name == SIGNATURE_FILE else content + b"x")
    with pytest.raises(ReleaseError, match=name):
        line.push("a", signer_of(1))
    assert line.names() == ["1"]


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["envelope", "os.replace", "os.rename", "Ledger.append"])
def test_a_push_that_is_killed_ends_signed(line: Line, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    line.push("a", signer_of(1))
    with monkeypatch.context() as patch:
        if step == "Ledger.append":
            patch.setattr(Ledger, "append", interrupt)
        elif step == "envelope":
            patch.setattr(Signer, "envelope", interrupt)
        else:
            module = push_module if step == "os.rename" else signing_module
            patch.setattr(module.os, step.removeprefix("os."), interrupt)
        with pytest.raises(KeyboardInterrupt):
            line.push("b", signer_of(1))
    killed_late = step == "Ledger.append"
    # What was visible for a moment had its signature by then.
    assert [name for name in line.names() if not name.startswith(".")] == (["1", "2"] if killed_late else ["1"])
    assert (claimed_key(line.base / "2") is not None) == killed_late
    result = line.push("b", signer_of(1))
    assert (result.outcome, result.version) == ("adopted" if killed_late else "pushed", 2)
    line.check(2)
    assert line.names() == ["1", "2"]


def test_an_orphan_is_adopted_only_with_the_candidates_very_files(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", interrupt)
        with pytest.raises(KeyboardInterrupt):
            line.push("a", signer_of(1))
    (line.base / "1" / "assets.extra" / "warm-up").write_text("hostile")
    result = line.push("a", signer_of(1))
    assert (result.outcome, result.version) == ("pushed", 2)
    line.check(2)


def test_an_orphan_that_is_adopted_without_a_key_loses_its_signature(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", interrupt)
        with pytest.raises(KeyboardInterrupt):
            line.push("a", signer_of(1))
    assert line.push("a").outcome == "adopted"
    assert claimed_key(line.base / "1") is None


def test_a_copy_that_somebody_changes_is_not_signed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = push_module._copy_durably

    def hostile(source: Path, target: Path) -> None:
        copied(source, target)
        (target / "more").write_text("hostile")

    monkeypatch.setattr(push_module, "_copy_durably", hostile)
    with pytest.raises(ReleaseError, match="must have the files of .* to be signed"):
        line.push("a", signer_of(1))
    assert line.ledger.state().live is None


def test_a_rollback_goes_to_signed_versions_only(line: Line) -> None:
    line.push("a")
    line.push("b", signer_of(1))
    with pytest.raises(ReleaseError, match="the release must be signed"):
        rollback(line.ledger, line.base, digest=digest, trust=trust(1))
    assert line.ledger.state().live == 2
    assert rollback(line.ledger, line.base, digest=digest).version == 1


def test_the_key_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path)
    expected = key_id(a_key(1).public_key())
    by_file = SigningOrder(origin=ORIGIN, key_file=str(private), key_id=expected)
    by_name = SigningOrder(origin=ORIGIN, key="${KEY}")
    env = {"KEY": private_pem(a_key(1)).decode()}
    for order, given in ((by_file, {}), (by_name, env)):
        made = signer("toy", order, given, FACTS)
        assert (made.key_id, made.line) == (expected, "toy")
        assert "PRIVATE" not in order.canonical() and "key=" not in repr(made)
    with pytest.raises(ConfigError, match="the environment variable KEY must be set where the Pusher runs"):
        order_key(by_name, {})
    with pytest.raises(ReleaseError, match="must be the key .* as when the run began"):
        signer("toy", by_name.model_copy(update={"key_id": "0" * 64}), env, FACTS)


def test_what_the_judges_said(tmp_path: Path) -> None:
    from tfx.types import standard_artifacts

    spans = []
    for number in (2, 1):
        artifact = standard_artifacts.Examples()
        artifact.span, artifact.version = number, 0
        artifact.set_string_custom_property("label", f"Q{number}")
        artifact.set_string_custom_property("fingerprint", f"{number}" * 64)
        artifact.set_int_custom_property("rows", 10 * number)
        spans.append(artifact)
    infra = standard_artifacts.InfraBlessing()
    infra.uri = str(tmp_path)
    infra.set_int_custom_property("blessed", 1)
    inputs: dict[str, list[Any]] = {"examples": spans, "infra_blessing": [infra]}
    with pytest.raises(ReleaseError, match="must be a report that the InfraValidator wrote"):
        facts(inputs)
    (tmp_path / "validation.json").write_text(json.dumps({"checks": [{"name": "load", "ok": True, "detail": ""}]}))
    found = facts(inputs)
    assert [(span.span, span.label, span.rows) for span in found["spans"]] == [(1, "Q1", 10), (2, "Q2", 20)]
    assert found["spans"][0].fingerprint == "1" * 64
    assert (found["infra_validation"].blessed, found["infra_validation"].checks) == (True, {"load": True})
    assert found["evaluation"] is None
