"""Swaps, deletions and stops while requests run."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from pathlib import Path

import pytest

from serving.model_server import memory
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.servable import Servable
from tests.serving.model_server.asking import X, offset, states
from tests.serving.model_server.conftest import MakeManager
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.toy_models import ToyModels

SWAPS = 20


def test_no_request_fails_while_versions_are_swapped(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    stop = threading.Event()
    failures: list[BaseException] = []
    answered: list[set[float]] = []

    def hammer() -> None:
        mine: set[float] = set()
        answered.append(mine)
        try:
            while not stop.wait(0.001):  # Without a pause the loads get too little of the GIL to end soon.
                with manager.acquire(ModelSpecQuery("m")) as lease:
                    servable = lease.servable
                    y = servable.run(servable.signatures["serving_default"], {"x": X}, ["y"])[0]
                    assert float(y[0]) == 1.0 + servable.version
                    mine.add(servable.version)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for version in range(2, 2 + SWAPS):
        toy_models.write(tmp_path, version, offset=version)
        eventually(lambda: states(manager).get(version) == "AVAILABLE" and states(manager)[version - 1] == "END")  # noqa: B023
        shutil.rmtree(tmp_path / str(version - 1))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set().union(*answered) == set(range(1, 2 + SWAPS))


def test_a_lease_keeps_its_version_while_others_get_the_new_one(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    with manager.acquire(ModelSpecQuery("m")) as lease, manager.acquire(ModelSpecQuery("m", version=1)) as other:
        toy_models.write(tmp_path, 2, offset=2)
        eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "UNLOADING"})
        assert offset(manager) == 2
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"):
            manager.acquire(ModelSpecQuery("m", version=1))
        other.release()
        other.release()  # Counts once.
        signature = lease.servable.signatures["serving_default"]
        assert lease.servable.run(signature, {"x": X}, ["y"])[0].tolist() == [2.0]
        assert states(manager)[1] == "UNLOADING"
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})


def test_a_version_that_comes_back_while_it_is_in_use_is_loaded_afresh_afterwards(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    with manager.acquire(ModelSpecQuery("m")):
        shutil.rmtree(tmp_path / "1")
        eventually(lambda: states(manager) == {1: "UNLOADING"})
        toy_models.write(tmp_path, 1, offset=5)
        manager.poll()
        assert states(manager) == {1: "UNLOADING"}
    eventually(lambda: states(manager) == {1: "AVAILABLE"})
    assert offset(manager) == 5


def test_a_version_that_is_wanted_again_before_it_was_let_go_stays(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    events: list[str] = []
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(
        tmp_path, file_system_poll_wait_seconds=0, observe=lambda name, status: events.append(str(status))
    )
    toy_models.write_broken(tmp_path, 2, "empty")
    manager.poll()
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    shutil.rmtree(tmp_path / "2")
    manager.poll()
    toy_models.write(tmp_path, 3, offset=3)
    manager.poll()
    eventually(lambda: states(manager) == {3: "AVAILABLE", 2: "END", 1: "END"})
    first = [event for event in events if event.startswith("version 1")]
    assert first == [f"version 1: {state}" for state in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")]
    assert events.index("version 3: AVAILABLE") < events.index("version 1: UNLOADING")


def test_what_an_unloaded_version_held_is_given_back(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)

    def remains_of(version: int) -> list[weakref.ref]:
        with manager.acquire(ModelSpecQuery("m", version)) as lease:
            servable: Servable = lease.servable
            servable.run(servable.signatures["serving_default"], {"x": X}, ["y"])
            loaded = servable._loaded
            return [weakref.ref(one) for one in (servable, loaded, loaded.session, loaded.graph)]  # type: ignore[union-attr]

    gc.collect()
    gc.disable()
    try:
        remains = remains_of(1)
        assert all(one() is not None for one in remains)
        toy_models.write(tmp_path, 2, offset=2)
        eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
        eventually(lambda: all(one() is None for one in remains))
    finally:
        gc.enable()


def test_freed_memory_goes_back_to_the_system(
    make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[int, str]] = []
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    monkeypatch.setattr(memory, "give_back", lambda: given.append(states(manager)))
    toy_models.write(tmp_path, 2, offset=2)
    eventually(lambda: given == [{2: "AVAILABLE", 1: "END"}])


def test_giving_memory_back_needs_no_particular_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.give_back()


def test_a_stop_waits_for_the_leases(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1, offset=1)
    manager = make_manager(tmp_path)
    lease = manager.acquire(ModelSpecQuery("m"))
    assert not manager.stop(timeout=0.05)
    assert states(manager) == {1: "UNLOADING"} and not manager.ready
    with pytest.raises(ServingError) as caught:
        manager.acquire(ModelSpecQuery("m"))
    assert caught.value.code is Code.UNAVAILABLE
    stopped = threading.Thread(target=manager.stop)
    stopped.start()
    servable = lease.servable
    assert servable.run(servable.signatures["serving_default"], {"x": X}, ["y"])[0].tolist() == [2.0]
    assert stopped.is_alive()
    lease.release()
    stopped.join(60)
    assert not stopped.is_alive() and states(manager) == {1: "END"}
    assert manager.stop(timeout=30)


def test_nothing_is_loaded_after_a_stop(make_manager: MakeManager, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path, 1)
    manager = make_manager(tmp_path)
    assert manager.stop(timeout=30)
    toy_models.write(tmp_path, 2)
    manager.poll()
    assert states(manager) == {1: "END"}
    with pytest.raises(ServingError) as caught:
        manager.reload(manager.config)
    assert caught.value.code is Code.UNAVAILABLE


def test_a_manager_that_never_started_can_be_stopped(make_manager: MakeManager, tmp_path: Path) -> None:
    assert make_manager(tmp_path, start=False).stop(timeout=1)
