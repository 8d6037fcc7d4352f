"""The model config file that is followed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data.whole_file import replace_text
from schema.errors import ConfigError
from serving.model_server import config_file
from serving.model_server.config_file import ConfigFollower, read_config
from serving.model_server.errors import ServingError
from serving.model_server.manager import Manager
from serving.model_server.model_config import ServerModels
from tests.serving.model_server.asking import offset
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.toy_models import ToyModels

Follow = Callable[[Path, Manager], ConfigFollower]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Makes a manager follow a file, each 20 ms, until the end of the test."""
    followers: list[ConfigFollower] = []

    def start(file: Path, manager: Manager) -> ConfigFollower:
        followers.append(ConfigFollower(file, manager, 0.02))
        followers[-1].start()
        return followers[-1]

    yield start
    for follower in followers:
        follower.stop()


def config(base_path: Path, more: str = "", name: str = "m") -> str:
    model = f'name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {more}'
    return f"model_config_list {{ config {{ {model} }} }}"


def answer(manager: Manager, label: str | None = None, name: str = "m") -> float | str:
    """Returns a toy model's offset, or the code of the error."""
    try:
        return offset(manager, label=label, name=name)
    except ServingError as error:
        return error.code.name


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows with each look that a follower takes."""
    taken: list[Path] = []

    def read(file: Path) -> ServerModels:
        taken.append(file)
        return read_config(file)

    monkeypatch.setattr(config_file, "read_config", read)
    return taken


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "cannot be followed" in record.getMessage()]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--model_config_file must be a file that can be read"):
        read_config(tmp_path / "none")


def test_what_the_file_says_is_served(
    toy_models: ToyModels,
    make_manager: MakeManager,
    follow: Follow,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    looks: list[Path],
) -> None:
    toy_models.write(tmp_path / "a", 1)
    toy_models.write(tmp_path / "b", 1, offset=5.0)
    file = tmp_path / "models.config"
    replace_text(file, config(tmp_path / "a"))
    manager = make_manager(read_config(file))
    follow(file, manager)
    # One complaint a mistake, however often it is seen; and what was served before goes on.
    replace_text(file, "improper")
    eventually(lambda: len(errors(caplog)) == 1)
    before = len(looks)
    eventually(lambda: len(looks) > before + 2)
    assert f"{file}:1: Error parsing" in errors(caplog)[0]
    file.unlink()
    eventually(lambda: len(errors(caplog)) == 2)
    assert "must be a file that can be read" in errors(caplog)[1]
    assert answer(manager) == 2.0
    replace_text(file, config(tmp_path / "b", name="n"))
    eventually(lambda: answer(manager, name="n") == 5.0)
    eventually(lambda: answer(manager) == "NOT_FOUND")
    # A request's config lasts until the next look, as with TensorFlow Serving.
    with contextlib.suppress(ServingError):
        manager.reload(ServerModels.single("m", tmp_path / "a"))
    eventually(lambda: answer(manager) == "NOT_FOUND" and answer(manager, name="n") == 5.0)
    assert len(errors(caplog)) == 2


def test_a_label_waits_for_its_version(
    toy_models: ToyModels, make_manager: MakeManager, follow: Follow, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toy_models.write(tmp_path / "m", 1)
    file = tmp_path / "models.config"
    replace_text(file, config(tmp_path / "m"))
    manager = make_manager(read_config(file))
    follow(file, manager)
    replace_text(file, config(tmp_path / "m", 'version_labels { key: "next" value: 2 }'))
    eventually(lambda: errors(caplog))
    assert "FAILED_PRECONDITION: Request to assign label to version 2 of model m" in errors(caplog)[0]
    toy_models.write(tmp_path / "m", 2, offset=7.0)
    eventually(lambda: answer(manager, label="next") == 7.0)


def test_it_can_be_stopped(toy_models: ToyModels, make_manager: MakeManager, follow: Follow, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "m", 1)
    file = tmp_path / "models.config"
    replace_text(file, config(tmp_path / "m"))
    manager = make_manager(read_config(file))
    follower = follow(file, manager)
    follower.stop()
    follower._thread.join(60)
    assert not follower._thread.is_alive()
