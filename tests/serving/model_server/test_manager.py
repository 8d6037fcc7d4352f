"""Versions come, are swapped, fail and go, while the manager serves them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from schema.errors import ReleaseError
from serving.model_server import loading
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.loading import LoadOptions
from serving.model_server.manager import Manager, State, VersionStatus
from serving.model_server.model_config import All, Latest, ModelConfig, Policy, ServerModels, Specific
from serving.model_server.servable import Servable
from serving.model_server.source import aspired_versions
from tests.serving.model_server.asking import offset, states
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.toy_models import Breakage, ToyModels, predict_log


def error_of(manager: Manager, **query: Any) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        manager.acquire(ModelSpecQuery(**query))
    return caught.value.code, caught.value.message


def status_error(manager: Manager, name: str, version: int | None = None) -> tuple[Code, str]:
    with pytest.raises(ServingError) as caught:
        manager.statuses(name, version)
    return caught.value.code, caught.value.message


def serving(base_path: Path, policy: Policy) -> ServerModels:
    return ServerModels((ModelConfig("m", str(base_path), policy=policy),))


def test_serves_the_latest_version(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    toy_models.write(tmp_path, "00000123", offset=123)
    toy_models.write(tmp_path, ".tmp-200")
    toy_models.write(tmp_path, "200.rolled-back")
    manager = make_manager(tmp_path)
    assert manager.ready and manager.models() == ["m"]
    assert offset(manager) == offset(manager, version=123) == 123
    assert states(manager) == {123: "AVAILABLE"}
    with manager.acquire(ModelSpecQuery("m")) as lease:
        assert (lease.servable.name, lease.servable.version) == ("m", 123)


def test_what_is_not_there_is_not_found(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1)
    manager = make_manager(tmp_path)
    not_found = "Servable not found for request: "
    assert error_of(manager, name="gone") == (Code.NOT_FOUND, f"{not_found}Latest(gone)")
    assert error_of(manager, name="m", version=5) == (Code.NOT_FOUND, f"{not_found}Specific(m, 5)")
    assert error_of(manager, name="m", label="L") == (
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: L",
    )
    assert status_error(manager, "gone") == (Code.NOT_FOUND, "Could not find any versions of model gone")
    assert status_error(manager, "m", 5) == (Code.NOT_FOUND, "Could not find version 5 of model m")
    assert manager.statuses("m", 1) == [VersionStatus(1, State.AVAILABLE)]


@pytest.mark.parametrize(
    ("policy", "versions"),
    [(Latest(2), [4, 3]), (All(), [4, 3, 2, 1]), (Specific((1, 3, 9)), [3, 1])],
)
def test_policies(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, policy: Policy, versions: list[int]
) -> None:
    for version in (1, 2, 3, 4):
        toy_models.write(tmp_path, version, offset=version)
    manager = make_manager(serving(tmp_path, policy))
    assert list(states(manager)) == versions
    assert [offset(manager, version=version) for version in versions] == versions
    assert offset(manager) == versions[0]


def test_a_new_version_is_available_before_the_old_one_goes(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    events: list[str] = []
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path, observe=lambda name, status: events.append(f"{name} {status}"))
    toy_models.write(tmp_path, 2, offset=2)
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert offset(manager) == 2
    assert events == [
        *(f"m version 1: {state}" for state in ("START", "LOADING", "AVAILABLE")),
        *(f"m version 2: {state}" for state in ("START", "LOADING", "AVAILABLE")),
        *(f"m version 1: {state}" for state in ("UNLOADING", "END")),
    ]
    assert error_of(manager, name="m", version=1)[0] is Code.NOT_FOUND


def test_an_observer_may_ask_the_manager(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1)
    seen: list[bool] = []
    manager = make_manager(
        tmp_path, start=False, observe=lambda name, status: seen.append(bool(manager.statuses(name)))
    )
    manager.start()
    assert seen == [True, True, True]


def test_an_observer_that_fails_stops_nothing(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str, status: VersionStatus) -> None:
        raise RuntimeError("metrics are down")

    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path, observe=fail)
    assert offset(manager) == 1 and "metrics are down" in caplog.text


def test_models_are_loaded_even_when_there_are_no_threads_left(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(("load-", "unload-")):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    toy_models.write(tmp_path, 2, offset=2)
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


def test_the_lifecycle_is_imported_without_tensorflow() -> None:
    code = "import serving.model_server.manager, sys; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_versions_of_any_name_but_a_number_are_left_alone_until_they_are_renamed(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    half_written = toy_models.write_broken(tmp_path, ".tmp-2", "no variables")
    manager = make_manager(tmp_path, file_system_poll_wait_seconds=0)
    manager.poll()
    assert states(manager) == {1: "AVAILABLE"}
    shutil.rmtree(half_written)
    toy_models.write(tmp_path, ".tmp-2", offset=2).rename(tmp_path / "2")
    manager.poll()
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


@pytest.mark.parametrize("breakage", ["empty", "corrupt", "only variables", "no variables", "other tags", "a file"])
def test_a_version_that_does_not_load_ends_with_its_error_and_the_old_one_goes_on(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, breakage: Breakage
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    path = toy_models.write_broken(tmp_path, 2, breakage)
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    status = manager.statuses("m", 2)[0]
    assert status.code is not Code.OK and str(path) in status.message or "tags" in status.message
    assert offset(manager) == 1 and manager.ready
    toy_models.write(tmp_path, 3, offset=3)
    eventually(lambda: states(manager) == {3: "AVAILABLE", 2: "END", 1: "END"})
    assert offset(manager) == 3
    assert manager.statuses("m", 2) == [status]


def test_a_version_that_failed_is_tried_again_when_it_was_taken_away_and_comes_back(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    path = toy_models.write_broken(tmp_path, 2, "corrupt")
    manager = make_manager(tmp_path, file_system_poll_wait_seconds=0)
    toy_models.write(tmp_path, ".good", offset=2)
    shutil.rmtree(path)
    manager.poll()
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    (tmp_path / ".good").rename(path)
    manager.poll()
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert manager.statuses("m", 2)[0].code is Code.OK


def test_a_start_with_nothing_but_a_broken_version_returns(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write_broken(tmp_path, 3, "empty")
    manager = make_manager(tmp_path)
    assert states(manager) == {3: "END"} and not manager.ready
    assert error_of(manager, name="m") == (Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    with pytest.raises(ServingError) as caught:
        manager.check_available(["m"])
    assert caught.value.code is Code.UNKNOWN
    assert caught.value.message.startswith(
        "1 servable(s) did not become available: {{{name: m version: 3} due to error: NOT_FOUND: Could not find"
    )


def test_a_folder_that_disappears_while_it_is_loaded(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    def vanish(name: str, version: int, path: Path) -> None:
        if version == 2:
            path.rename(tmp_path / "elsewhere")

    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path, load_options=LoadOptions(max_num_load_retries=0, verify=vanish))
    toy_models.write(tmp_path, 2)
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    assert manager.statuses("m", 2)[0].code in (Code.NOT_FOUND, Code.CANCELLED)
    assert offset(manager) == 1


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (ReleaseError("version 2 is not the ledger's", hint="push again"), Code.FAILED_PRECONDITION, "the ledger's"),
        (ServingError(Code.PERMISSION_DENIED, "not this one"), Code.PERMISSION_DENIED, "not this one"),
        (OSError("disk gone"), Code.INTERNAL, "OSError: disk gone"),
    ],
)
def test_what_verification_refuses_is_not_loaded(
    make_manager: MakeManager,
    toy_models: ToyModels,
    tmp_path: Path,
    raised: Exception,
    code: Code,
    message: str,
) -> None:
    asked: list[tuple[str, int, Path]] = []

    def verify(name: str, version: int, path: Path) -> None:
        asked.append((name, version, path))
        if version == 2:
            raise raised

    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path, load_options=LoadOptions(max_num_load_retries=0, verify=verify))
    toy_models.write(tmp_path, 2)
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    status = manager.statuses("m", 2)[0]
    assert status.code is code and message in status.message
    assert asked == [("m", 1, tmp_path / "1"), ("m", 2, tmp_path / "2")]
    assert offset(manager) == 1


def test_a_load_is_tried_again(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    attempts: list[int] = []

    def verify(name: str, version: int, path: Path) -> None:
        attempts.append(version)
        if len(attempts) < 3:
            raise ReleaseError("not yet")

    toy_models.write(tmp_path, 1, offset=1)
    options = LoadOptions(max_num_load_retries=2, load_retry_interval_micros=10, verify=verify)
    manager = make_manager(tmp_path, load_options=options)
    assert states(manager) == {1: "AVAILABLE"} and len(attempts) == 3
    attempts.clear()
    toy_models.write_broken(tmp_path, 2, "empty")
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    assert attempts == [2, 2, 2]


@pytest.mark.parametrize("way", ["taken away", "stopped"])
def test_what_is_not_wanted_any_more_is_not_tried_again(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, way: str
) -> None:
    failed = threading.Event()

    def verify(name: str, version: int, path: Path) -> None:
        if version == 2:
            failed.set()
            raise ReleaseError("no")

    toy_models.write(tmp_path, 1, offset=1)
    options = LoadOptions(max_num_load_retries=5, load_retry_interval_micros=3_600_000_000, verify=verify)
    manager = make_manager(tmp_path, load_options=options)
    path = toy_models.write(tmp_path, 2)
    eventually(failed.is_set)
    assert states(manager) == {2: "LOADING", 1: "AVAILABLE"} and offset(manager) == 1
    if way == "stopped":
        assert manager.stop(timeout=30)
        assert states(manager) == {2: "END", 1: "END"}
        return
    shutil.rmtree(path)
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    assert offset(manager) == 1


def test_what_was_loaded_though_nobody_wants_it_any_more_is_closed(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def verify(name: str, version: int, path: Path) -> None:
        if version == 2:
            begun.set()
            go_on.wait()

    toy_models.write(tmp_path, 1, offset=1)
    options = LoadOptions(max_num_load_retries=0, verify=verify)
    manager = make_manager(tmp_path, load_options=options, file_system_poll_wait_seconds=0)
    path = toy_models.write(tmp_path, 2)
    manager.poll()
    eventually(begun.is_set)
    hidden = path.rename(tmp_path / ".hidden")
    manager.poll()
    hidden.rename(path)  # Out of sight, and yet it can be loaded.
    go_on.set()
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    assert manager.statuses("m", 2) == [VersionStatus(2, State.END, Code.CANCELLED, "Loading of servable cancelled")]
    manager.poll()
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


def test_warm_up_requests_run_before_a_version_is_available(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    x = np.float32([1])
    toy_models.write(tmp_path, 1, offset=1, warm_up=[predict_log(x=x), predict_log("with_default", x=x)])
    manager = make_manager(tmp_path)
    with manager.acquire(ModelSpecQuery("m")) as lease:
        assert {key[0] for key in lease.servable._calls} == {"serving_default", "with_default"}


@pytest.mark.parametrize(
    ("warm_up", "code", "message"),
    [
        ("gone", Code.FAILED_PRECONDITION, 'Serving signature key "gone" not found.'),
        ("fails", Code.INVALID_ARGUMENT, "this signature fails"),
        ("no TFRecord", Code.DATA_LOSS, "Please verify your warmup data is in TFRecord format."),
    ],
)
def test_a_warm_up_that_fails_fails_the_load(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, warm_up: str, code: Code, message: str
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    records = b"no TFRecord at all" if warm_up == "no TFRecord" else [predict_log(warm_up, x=np.float32([1]))]
    toy_models.write(tmp_path, 2, warm_up=records)
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    status = manager.statuses("m", 2)[0]
    assert status.code is code and message in status.message
    assert offset(manager) == 1


class Recorded(Servable):
    """A servable that is remembered."""

    made: ClassVar[list[Recorded]] = []

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.made.append(self)


@pytest.mark.parametrize("why", ["its warm-up fails", "nobody wants it any more"])
def test_what_was_loaded_in_vain_is_closed(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(Recorded, "made", [])
    monkeypatch.setattr(loading, "Servable", Recorded)
    manager = make_manager(tmp_path, file_system_poll_wait_seconds=0)
    if why == "its warm-up fails":
        toy_models.write(tmp_path, 1, warm_up=[predict_log("gone", x=np.float32([1]))])
    else:
        toy_models.write(tmp_path, 1)
        monkeypatch.setattr(manager._table, "loaded", lambda held, servable: False)
    manager.poll()
    eventually(lambda: states(manager) == {1: "END"})
    assert [servable._loaded for servable in Recorded.made] == [None]


def test_warm_up_can_be_left_out(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1, warm_up=[predict_log("gone", x=np.float32([1]))])
    manager = make_manager(tmp_path, load_options=LoadOptions(max_num_load_retries=0, enable_model_warmup=False))
    assert states(manager) == {1: "AVAILABLE"}


def test_a_deleted_version_is_unloaded(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    toy_models.write(tmp_path, 2, offset=2)
    manager = make_manager(tmp_path)
    assert states(manager) == {2: "AVAILABLE"}
    (tmp_path / "2").rename(tmp_path / "2.rolled-back")
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    assert offset(manager) == 1
    shutil.rmtree(tmp_path / "1")
    eventually(lambda: states(manager) == {2: "END", 1: "END"})
    assert not manager.ready
    assert error_of(manager, name="m") == (Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    (tmp_path / "2.rolled-back").rename(tmp_path / "2")
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert offset(manager) == 2


def test_a_base_path_that_goes_and_comes_back_changes_nothing(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    base_path = tmp_path / "base"
    toy_models.write(base_path, 1, offset=1)
    manager = make_manager(base_path, file_system_poll_wait_seconds=0)
    base_path.rename(tmp_path / "away")
    manager.poll()
    assert states(manager) == {1: "AVAILABLE"} and offset(manager) == 1
    toy_models.write(tmp_path / "away", 2, offset=2)
    (tmp_path / "away").rename(base_path)
    manager.poll()
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


def test_one_models_lost_base_path_does_not_hold_up_another(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path / "b", 1, offset=1)
    models = ServerModels((ModelConfig("a", str(tmp_path / "a")), ModelConfig("b", str(tmp_path / "b"))))
    manager = make_manager(models)
    assert offset(manager, name="b") == 1 and not manager.ready
    toy_models.write(tmp_path / "a", 1, offset=4)
    eventually(lambda: manager.ready)
    assert offset(manager, name="a") == 4


def test_a_start_may_wait_for_the_first_version(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    manager = make_manager(tmp_path, start=False)
    thread = threading.Thread(target=lambda: manager.start(wait_for_versions=True))
    thread.start()
    eventually(lambda: manager._poller.is_alive())
    assert thread.is_alive() and not manager.ready
    toy_models.write(tmp_path, 1, offset=1)
    thread.join(60)
    assert not thread.is_alive() and manager.ready


def test_a_stop_ends_a_start_that_waits(make_manager: MakeManager, tmp_path: Path) -> None:
    manager = make_manager(tmp_path, start=False)
    thread = threading.Thread(target=lambda: manager.start(wait_for_versions=True))
    thread.start()
    eventually(lambda: manager._poller.is_alive())
    assert manager.stop(timeout=30)
    thread.join(60)
    assert not thread.is_alive() and not manager.ready


def test_without_polling_nothing_is_looked_at_after_the_start(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path, file_system_poll_wait_seconds=0)
    assert not manager._poller.is_alive() and states(manager) == {1: "AVAILABLE"}


@pytest.mark.parametrize(("threads", "at_once"), [(0, 1), (3, 3)])
def test_as_many_versions_load_at_once_as_there_are_threads(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, threads: int, at_once: int
) -> None:
    loading: list[int] = []
    go_on = threading.Event()

    def verify(name: str, version: int, path: Path) -> None:
        loading.append(version)
        go_on.wait()

    options = LoadOptions(max_num_load_retries=0, verify=verify)
    config = serving(tmp_path, All())
    manager = make_manager(config, load_options=options, num_load_threads=threads, file_system_poll_wait_seconds=0)
    for version in range(1, 6):
        toy_models.write(tmp_path, version)
    manager.poll()
    eventually(lambda: len(loading) >= at_once)
    assert sorted(loading, reverse=True) == [5, 4, 3][:at_once]
    assert list(states(manager).values()) == ["LOADING"] * at_once + ["START"] * (5 - at_once)
    go_on.set()
    eventually(lambda: set(states(manager).values()) == {"AVAILABLE"})


def test_at_the_start_many_load_at_once(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=60)
    for version in range(1, 5):
        toy_models.write(tmp_path, version)
    options = LoadOptions(max_num_load_retries=0, verify=lambda name, version, path: together.wait() and None)
    manager = make_manager(serving(tmp_path, All()), load_options=options)
    assert set(states(manager).values()) == {"AVAILABLE"}


def test_a_look_that_fails_does_not_end_the_polling(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def fail_once(model: ModelConfig) -> dict[int, Path] | None:
        looks.append(1)
        if len(looks) == 2:
            raise RuntimeError("file system of another planet")
        return aspired_versions(model)

    manager = make_manager(tmp_path, aspire=fail_once)
    eventually(lambda: len(looks) > 2)
    toy_models.write(tmp_path, 1)
    eventually(lambda: manager.ready)
    assert "file system of another planet" in caplog.text
