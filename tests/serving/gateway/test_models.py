"""The server behind is led step by step: new versions first, then labels and requests, and last the old ones go."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from schema.errors import ReleaseError
from serving.gateway import models as models_module
from serving.gateway.digests import Digests
from serving.gateway.model_config_file import ModelConfigFile, model_config
from serving.gateway.models import UpstreamModels, Written
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.model_server.errors import Code, ServingError
from serving.model_server.model_config import ServerModels, Specific
from serving.model_server.version_state import State, VersionStatus
from serving.traffic import Split


class Server:
    """A server that loads what a test says.

    Attributes:
        states: what it has.
        configs: what it was given.
        down: whether it is not there.
    """

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.errors: dict[int, str] = {}
        self.configs: list[Any] = []
        self.down = False

    def statuses(self, model: str) -> list[VersionStatus]:
        if self.down:
            raise ServingError(Code.UNAVAILABLE, "down")
        return [
            VersionStatus(v, state, Code.INTERNAL if v in self.errors else Code.OK, self.errors.get(v, ""))
            for v, state in self.states.items()
        ]

    def reload(self, config: Any) -> None:
        self.configs.append(config)


class Line:
    """A line of empty folders, and what leads its server.

    Attributes:
        models: what is tested.
        server: the server.
        config: the model config file.
        now: the time.
    """

    def __init__(self, folder: Path, digests: bool = False) -> None:
        self.folder, self.config = folder, folder / "models.config"
        self.base = folder / "toy"
        self.base.mkdir()
        self.ledger = Ledger(folder / "releases.jsonl")
        self.server = Server()
        self.found: dict[str, tuple[str, str]] = {}
        self.digests = Digests(self.base, self.ledger, lambda folders: [self.found[f.name] for f in folders])
        file = ModelConfigFile(self.config, "toy", Path("/models/toy"))
        written = Written(file, self.base, self.digests if digests else None)
        self.models = UpstreamModels("toy", self.ledger, self.server, written)  # type: ignore[arg-type]

    def push(self, version: int, digest: str = "d") -> None:
        (self.base / str(version)).mkdir()
        (self.base / str(version) / "file").write_text(str(version))
        self.append(event="pushed", version=version, run_id="r", model_digest=digest)

    def append(self, **event: Any) -> None:
        self.ledger.append(LedgerEvent(who="ada", when="now", **event))

    @property
    def written(self) -> tuple[tuple[int, ...], dict[str, int]]:
        """The versions and labels in the file."""
        found = ServerModels.from_text(self.config.read_text(), "models.config").models
        if not found:
            return (), {}
        assert isinstance(found[0].policy, Specific)
        assert (found[0].name, found[0].base_path) == ("toy", "/models/toy")
        return tuple(found[0].policy.versions), dict(found[0].labels)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    found = [1000.0]
    monkeypatch.setattr(models_module.time, "monotonic", lambda: found[0])
    return found


def test_before_the_first_push_the_server_is_to_serve_nothing(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.models.prepare()
    # A model without versions would keep TensorFlow Serving from looking at the file again.
    assert line.written == ((), {})
    config = model_config("toy", Path("/x"), (), {})
    assert config.WhichOneof("config") == "model_config_list" and not config.model_config_list.config
    assert not ServerModels.from_text(line.config.read_text(), "models.config").models
    line.models.look()
    assert not line.models.ready and line.models.split == Split("toy")


def test_a_push(tmp_path: Path, now: list[float]) -> None:
    line = Line(tmp_path)
    line.push(1)
    line.models.prepare()
    # Of labels it may not know before it has the version.
    assert line.written == ((1,), {})
    line.models.look()
    assert not line.models.ready
    line.server.states = {1: State.AVAILABLE}
    line.models.look()
    assert line.models.ready and line.models.split == Split("toy", stable=1)
    assert line.written == ((1,), {"stable": 1})

    line.push(2)
    line.models.look()
    assert line.written == ((1, 2), {"stable": 1}) and line.models.split.stable == 1
    line.server.states[2] = State.LOADING
    line.models.look()
    assert line.models.split.stable == 1
    line.server.states[2] = State.AVAILABLE
    line.models.look()
    assert line.models.split.stable == 2 and line.written == ((1, 2), {"stable": 2})
    # Requests on their way still reach the old one.
    now[0] += models_module.LINGER_SECONDS - 0.1
    line.models.look()
    assert line.written == ((1, 2), {"stable": 2})
    now[0] += 0.2
    line.models.look()
    assert line.written == ((2,), {"stable": 2})
    assert len(line.server.configs) == 5


def test_a_version_without_a_folder_is_not_asked_for(tmp_path: Path) -> None:
    """TensorFlow Serving that starts with it would wait for it and for nothing else."""
    line = Line(tmp_path)
    line.append(event="pushed", version=1, run_id="r", model_digest="d")
    line.models.prepare()
    assert line.written == ((), {})
    (line.base / "1").mkdir()
    line.models.look()
    assert line.written == ((1,), {})


def test_a_shadow_that_cannot_be_loaded_holds_nobody_up(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.push(1)
    line.push(2)
    line.append(event="shadow", version=1, share=1.0)
    line.server.states = {1: State.END, 2: State.AVAILABLE}
    line.models.prepare()
    line.models.look()
    assert line.models.split == Split("toy", stable=2) and line.written == ((1, 2), {"stable": 2})
    line.server.states[1] = State.AVAILABLE
    line.models.look()
    assert line.models.split == Split("toy", stable=2, shadow=1, shadow_share=1.0)


def test_a_version_that_fails_is_told_of_once(
    tmp_path: Path, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path)
    line.push(1)
    line.server.states = {1: State.AVAILABLE}
    line.models.look()
    line.push(2)
    line.server.states[2], line.server.errors[2] = State.END, "it is broken"
    for _ in range(3):
        line.models.look()
        now[0] += models_module.LINGER_SECONDS + 1
    assert line.models.split.stable == 1 and line.models.ready
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert told == ["Version 2 of toy is not served. it is broken"]


def test_a_config_that_is_refused_is_offered_again(tmp_path: Path, now: list[float]) -> None:
    line = Line(tmp_path)
    line.push(1)
    offered: list[Any] = []

    def refuse(config: Any) -> None:
        offered.append(config)
        raise ServingError(Code.FAILED_PRECONDITION, "no")

    line.server.reload = refuse  # type: ignore[method-assign]
    line.models.look()
    line.models.look()
    assert len(offered) == 1
    now[0] += models_module.OFFER_SECONDS + 0.1
    line.models.look()
    assert len(offered) == 2


def test_a_server_that_is_started_again_gets_its_config_again(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.push(1)
    line.server.states = {1: State.AVAILABLE}
    line.models.look()
    before = len(line.server.configs)
    line.models.look()
    assert len(line.server.configs) == before
    line.server.down = True
    line.models.look()
    assert not line.models.ready and line.models.settling and line.models.split.stable == 1
    line.server.down = False
    line.models.look()
    assert len(line.server.configs) == before + 1


def test_a_model_that_is_not_the_released_one_is_not_asked_for(tmp_path: Path, now: list[float]) -> None:
    line = Line(tmp_path, digests=True)
    line.push(1, "one")
    line.found = {"1": ("one", "")}
    line.models.prepare()
    assert line.written == ((1,), {})
    line.server.states = {1: State.AVAILABLE, 2: State.AVAILABLE}
    line.models.look()
    line.push(2, "two")
    line.models.look()
    # Nobody has looked at it yet; and the server may have it for whatever reason.
    assert line.written[0] == (1,) and line.models.split.stable == 1
    line.found["2"] = ("another", "")
    line.digests.look()
    line.models.look()
    assert line.written[0] == (1,) and line.models.split.stable == 1
    (line.base / "2" / "file").write_text("mended")
    line.found["2"] = ("two", "")
    line.digests.look()
    line.models.look()
    assert line.written[0] == (1, 2) and line.models.split.stable == 2
    line.models.stop()


def test_with_such_a_model_it_does_not_start(tmp_path: Path) -> None:
    line = Line(tmp_path, digests=True)
    line.push(1, "one")
    line.found = {"1": ("another", "")}
    with pytest.raises(ReleaseError, match="version 1, which is live, must be a model that can be served") as caught:
        line.models.prepare()
    assert "digest one. Got another instead" in str(caught.value)
    assert not line.config.exists()
    line.models.stop()


def test_waiting(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.push(1)
    line.models.prepare()
    line.server.states, line.server.errors = {1: State.END}, {1: "it is broken"}
    line.models.look()
    with pytest.raises(ReleaseError, match="it is broken"):
        line.models.wait()
    line.server.states, line.server.errors = {1: State.AVAILABLE}, {}
    line.models.look()
    line.models.wait()
    line.models.stop()


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.config.mkdir()
    with pytest.raises(ReleaseError, match="models.config must be a file that can be written"):
        line.models.prepare()


def test_a_damaged_ledger_changes_nothing(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.push(1)
    line.server.states = {1: State.AVAILABLE}
    line.models.look()
    whole = line.ledger.path.read_bytes()
    line.ledger.path.write_bytes(whole + b"no JSON\n")
    with pytest.raises(ReleaseError):
        line.models.look()
    line.models.look()
    assert line.models.ready and line.models.split.stable == 1
    line.ledger.path.write_bytes(whole)
    line.push(2)
    line.server.states[2] = State.AVAILABLE
    line.models.look()
    assert line.models.split.stable == 2


def test_without_a_config_file_it_follows_what_the_server_has(
    tmp_path: Path, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(tmp_path)
    models = UpstreamModels("toy", line.ledger, line.server)  # type: ignore[arg-type]
    line.push(1)
    line.push(2)
    line.append(event="canary", version=2, from_version=1, share=0.5)
    line.server.states = {2: State.AVAILABLE}
    models.look()
    now[0] += models_module.LINGER_SECONDS + 1
    models.look()
    assert models.split == Split("toy") and not models.ready and models.newest == 2
    assert "--model-config" in caplog.text
    line.server.states[1] = State.AVAILABLE
    models.look()
    assert models.split == Split("toy", stable=1, canary=2, share=0.5) and models.ready
    assert line.server.configs == []
