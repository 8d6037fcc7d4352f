from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.pusher.signing import SigningOrder
from schema.errors import ConfigError
from schema.release import PusherConfig
from serving.ledger import Ledger
from tests.serving.signing.signed_line import ORIGIN, trust, write_keys


@pytest.fixture
def wired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Artifacts and exec properties as the launcher hands them over, all blessed."""
    from tfx.types import standard_artifacts

    import serving.model_digest

    def artifact(kind: Any, number: int, **properties: int) -> Any:
        made = kind()
        made.uri = str(tmp_path / kind.TYPE_NAME)
        made.id = number
        for key, value in properties.items():
            made.set_int_custom_property(key, value)
        return made

    monkeypatch.setattr(
        serving.model_digest, "model_digest", lambda folder: (Path(folder) / "saved_model.pb").read_text()
    )
    model = artifact(standard_artifacts.Model, 11)
    folder = Path(model.uri) / "Format-Serving"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_text("abc")
    return {
        "inputs": {
            "model": [model],
            "model_blessing": [artifact(standard_artifacts.ModelBlessing, 12, blessed=1, current_model_id=11)],
            "infra_blessing": [artifact(standard_artifacts.InfraBlessing, 13, blessed=1)],
        },
        "outputs": {"pushed_model": [artifact(standard_artifacts.PushedModel, 14)]},
        "properties": {
            "config": json.dumps({"name": "taxi", "pusher": PusherConfig().model_dump(mode="json")}),
            "push_destination": str(tmp_path / "base"),
            "ledger": str(tmp_path / "releases.jsonl"),
            "code_digest": "x",
        },
    }


def run(wired: dict[str, Any]) -> dict[str, Any]:
    """Runs the executor and returns the custom properties that it set."""
    from tfx.dsl.components.base.base_executor import BaseExecutor

    from components.pusher.executor import Executor

    context = BaseExecutor.Context(pipeline_run_id="run-7")
    Executor(context).Do(wired["inputs"], wired["outputs"], wired["properties"])
    artifact = wired["outputs"]["pushed_model"][0]
    written = json.loads((Path(artifact.uri) / "pushed.json").read_text())
    for key, value in written.items():
        assert artifact.get_custom_property(key) == value
    return written


def test_a_blessed_model_is_pushed_under_the_run_that_pushes_it(wired: dict[str, Any], tmp_path: Path) -> None:
    found = run(wired)
    assert found == {
        "pushed": 1,
        "new": 1,
        "outcome": "pushed",
        "reason": "version 1 is live",
        "version": 1,
        "model_digest": "abc",
        "pushed_destination": str(tmp_path / "base" / "1"),
        "pushed_version": "1",
    }
    entry = Ledger(tmp_path / "releases.jsonl").state().entries[1]
    assert (entry.pushed.run_id, entry.pushed.model_uri) == ("run-7", str(tmp_path / "Model"))
    assert run(wired)["outcome"] == "already live"


@pytest.mark.parametrize(
    ("key", "change", "outcome", "words"),
    [
        ("model_blessing", {"blessed": 0}, "not blessed", "says no"),
        ("infra_blessing", {"blessed": 0}, "not infra-blessed", "says no"),
        ("model_blessing", None, "not blessed", "did not run"),
        ("infra_blessing", None, "not infra-blessed", "did not run"),
        ("model_blessing", {"current_model_id": 5}, "not blessed", "is for model 5, not for model 11"),
    ],
)
def test_nothing_is_pushed_without_every_blessing(
    wired: dict[str, Any], tmp_path: Path, key: str, change: dict[str, int] | None, outcome: str, words: str
) -> None:
    if change is None:
        wired["inputs"][key] = []
    else:
        for name, value in change.items():
            wired["inputs"][key][0].set_int_custom_property(name, value)
    found = run(wired)
    assert (found["pushed"], found["new"], found["outcome"]) == (0, 0, outcome)
    assert words in found["reason"]
    assert not (tmp_path / "base").exists()
    assert not (tmp_path / "releases.jsonl").exists()


def test_a_blessing_that_is_not_wired_is_not_asked_for(wired: dict[str, Any]) -> None:
    del wired["inputs"]["model_blessing"]
    assert run(wired)["outcome"] == "pushed"


def test_with_a_signing_order_the_release_is_signed(wired: dict[str, Any], tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path)
    infra = Path(wired["inputs"]["infra_blessing"][0].uri)
    infra.mkdir()
    (infra / "validation.json").write_text(json.dumps({"checks": []}))
    wired["properties"]["signing"] = SigningOrder(origin=ORIGIN, key_file=str(private)).canonical()
    assert run(wired)["outcome"] == "pushed"
    state = Ledger(tmp_path / "releases.jsonl").state()
    statement = trust(1, line="taxi").check(tmp_path / "base" / "1", state, 1)
    assert (statement.predicate.run_id, statement.predicate.origin) == ("run-7", ORIGIN)
    assert run(wired)["outcome"] == "already live"
    private.unlink()
    with pytest.raises(ConfigError, match="pusher.signing.key_file must be a file that can be read"):
        run(wired)


def test_the_component_takes_no_run_id(wired: dict[str, Any]) -> None:
    from tfx.types import standard_artifacts
    from tfx.types.channel import Channel

    from components.pusher.component import ReleasePusher

    pusher = ReleasePusher(model=Channel(type=standard_artifacts.Model), **wired["properties"])
    assert pusher.id == "Pusher"
    assert pusher.exec_properties == {**wired["properties"], "signing": None}
    assert set(pusher.outputs) == {"pushed_model"}
