"""A reload replaces the whole config: models, policies and labels."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.manager import Manager
from serving.model_server.model_config import All, Latest, ModelConfig, Policy, ServerModels, Specific
from tests.serving.model_server.asking import offset, states
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.toy_models import ToyModels


@pytest.fixture
def base_path(toy_models: ToyModels, tmp_path: Path) -> Path:
    for version in (1, 2):
        toy_models.write(tmp_path / "m", version, offset=version)
    toy_models.write(tmp_path / "other", 9, offset=9)
    return tmp_path / "m"


def models(base_path: Path, policy: Policy = All(), labels: Mapping[str, int] | None = None) -> ServerModels:  # noqa: B008
    return ServerModels((ModelConfig("m", str(base_path), policy=policy, labels=labels or {}),))


def other(base_path: Path) -> ModelConfig:
    return ModelConfig("other", str(base_path.parent / "other"))


def refused(manager: Manager, config: ServerModels) -> ServingError:
    with pytest.raises(ServingError) as caught:
        manager.reload(config)
    return caught.value


UNAVAILABLE_LABEL = "Request to assign label to version 7 of model m, which is not currently available for inference"


def test_models_come_and_go(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path), file_system_poll_wait_seconds=0)
    manager.reload(ServerModels((*models(base_path).models, other(base_path))))
    assert manager.models() == ["m", "other"] and manager.ready
    assert offset(manager, name="other") == 9 and offset(manager) == 2
    manager.reload(ServerModels((other(base_path),)))
    assert manager.models() == ["other"]
    eventually(lambda: states(manager) == {2: "END", 1: "END"})
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        offset(manager)
    manager.reload(models(base_path))
    assert offset(manager) == 2 and states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_a_config_without_models_unloads_all_and_no_config_nothing(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path))
    manager.reload(ServerModels(unset=True))
    assert manager.models() == ["m"] and offset(manager) == 2
    manager.reload(ServerModels())
    assert manager.models() == []
    eventually(lambda: states(manager) == {2: "END", 1: "END"})


def test_a_policy_changes(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path, Latest()), file_system_poll_wait_seconds=0)
    assert states(manager) == {2: "AVAILABLE"}
    manager.reload(models(base_path, Specific((1,))))
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    assert offset(manager) == 1
    manager.reload(models(base_path, All()))
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"})


def test_a_model_stays_while_others_change(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path))
    with manager.acquire(ModelSpecQuery("m")) as lease:
        before = lease.servable
    manager.reload(ServerModels((other(base_path), *models(base_path).models)))
    with manager.acquire(ModelSpecQuery("m")) as lease:
        assert lease.servable is before


def test_labels_name_versions(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path))
    manager.reload(models(base_path, labels={"stable": 1, "canary": 2}))
    assert (offset(manager, label="stable"), offset(manager, label="canary")) == (1, 2)
    assert manager.labels("m") == {"stable": 1, "canary": 2} and manager.labels("gone") == {}
    manager.reload(models(base_path, labels={"stable": 2}))
    assert offset(manager, label="stable") == 2
    with pytest.raises(ServingError) as caught:
        offset(manager, label="canary")
    assert caught.value.message == "Unrecognized servable version label: canary"


def test_a_label_of_a_version_that_is_not_available_changes_nothing(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path))
    manager.reload(models(base_path, labels={"stable": 1}))
    before = manager.config
    config = ServerModels((*models(base_path, Latest(), {"stable": 2, "canary": 7}).models, other(base_path)))
    error = refused(manager, config)
    assert (error.code, error.message) == (Code.FAILED_PRECONDITION, UNAVAILABLE_LABEL)
    assert manager.config == before and manager.models() == ["m"]
    assert offset(manager, label="stable") == 1 and states(manager) == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_labels_are_checked_before_the_models_of_the_same_config_are_loaded(
    make_manager: MakeManager, base_path: Path
) -> None:
    manager = make_manager(models(base_path, labels={"stable": 1}), start=False)
    with pytest.raises(ServingError) as caught:
        manager.start()
    assert caught.value.code is Code.FAILED_PRECONDITION


def test_a_new_label_may_be_allowed_to_wait_for_its_version(
    make_manager: MakeManager, toy_models: ToyModels, base_path: Path
) -> None:
    labels = {"stable": 1, "canary": 7}
    manager = make_manager(models(base_path, labels=labels), allow_version_labels_for_unavailable_models=True)
    assert offset(manager, label="stable") == 1
    with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(m, 7\)"):
        offset(manager, label="canary")
    # One that is in use is not moved to where there is nothing.
    assert refused(manager, models(base_path, labels={"stable": 7})).code is Code.FAILED_PRECONDITION
    toy_models.write(base_path, 7, offset=7)
    eventually(lambda: states(manager).get(7) == "AVAILABLE")
    assert offset(manager, label="canary") == 7
    manager.reload(models(base_path, labels={"stable": 7}))
    assert offset(manager, label="stable") == 7


def test_any_label_may_be_allowed_anywhere(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path), force_allow_any_version_labels_for_unavailable_models=True)
    manager.reload(models(base_path, labels={"stable": 1}))
    manager.reload(models(base_path, labels={"stable": 7}))
    assert manager.labels("m") == {"stable": 7}


def test_a_new_model_that_does_not_load_is_told(
    make_manager: MakeManager, toy_models: ToyModels, base_path: Path
) -> None:
    toy_models.write_broken(base_path.parent / "broken", 4, "corrupt")
    manager = make_manager(models(base_path))
    broken = ModelConfig("broken", str(base_path.parent / "broken"))
    error = refused(manager, ServerModels((*models(base_path).models, broken, other(base_path))))
    assert error.code is Code.UNKNOWN
    assert error.message == (
        "1 model(s) did not become available: {{{name: broken version: 4} due to error: DATA_LOSS: "
        f"Can't parse {broken.base_path}/4/saved_model.pb as binary proto}}, }}"
    )
    assert manager.models() == ["m", "broken", "other"]
    assert offset(manager, name="other") == 9 and offset(manager) == 2


def test_a_new_model_without_versions_is_waited_for_when_asked(
    make_manager: MakeManager, toy_models: ToyModels, base_path: Path
) -> None:
    manager = make_manager(models(base_path))
    late = ModelConfig("late", str(base_path.parent / "late"))
    manager.reload(ServerModels((*models(base_path).models, late)))
    assert not manager.ready
    manager.reload(models(base_path))
    thread = threading.Thread(
        target=manager.reload,
        args=(ServerModels((*models(base_path).models, late)),),
        kwargs={"wait_for_versions": True},
    )
    thread.start()
    eventually(lambda: manager.models() == ["m", "late"])
    assert thread.is_alive()
    toy_models.write(base_path.parent / "late", 1, offset=5)
    thread.join(60)
    assert not thread.is_alive() and offset(manager, name="late") == 5


def test_a_reload_that_waits_ends_when_its_model_goes(make_manager: MakeManager, base_path: Path) -> None:
    manager = make_manager(models(base_path))
    late = ModelConfig("late", str(base_path.parent / "late"))
    thread = threading.Thread(
        target=manager.reload,
        args=(ServerModels((*models(base_path).models, late)),),
        kwargs={"wait_for_versions": True},
    )
    thread.start()
    eventually(lambda: manager.models() == ["m", "late"])
    manager.reload(models(base_path))
    thread.join(60)
    assert not thread.is_alive()
