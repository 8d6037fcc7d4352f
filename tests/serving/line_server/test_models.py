"""A server's versions follow the release ledger, and no request fails while they do."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from schema.errors import ReleaseError
from serving.line_server import models as models_module
from serving.line_server.hooks import LineHooks
from serving.line_server.models import LineModels
from serving.line_server.shadow import Shadow, asked_here
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.predict import run_predict
from serving.traffic import Split
from tests.serving.line_server.conftest import ToyLine, until


@pytest.fixture
def models(toy_line: ToyLine, monkeypatch: pytest.MonkeyPatch) -> Iterator[LineModels]:
    monkeypatch.setattr(models_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(models_module, "LINGER_SECONDS", 0.5)
    models = LineModels(toy_line.name, toy_line.base, toy_line.ledger)
    yield models
    models.stop()


def ask(models: LineModels, key: str = "", query: ModelSpecQuery | None = None) -> int:
    """Asks as a client does, through the hooks, and returns the version that answered, by its answer."""
    hooks = LineHooks("toy", models, None, Shadow("toy", asked_here(models.manager), lambda _: None, None))
    routed = hooks.route(query or ModelSpecQuery("toy"), key, "id")
    with models.manager.acquire(routed) as lease:
        _, outputs = run_predict(lease.servable, "serving_default", {"x": np.array([0.0], np.float32)})
        assert lease.servable.version == round(float(outputs["y"][0]))
        return lease.servable.version


def test_what_is_live_is_served_and_a_push_takes_its_place(toy_line: ToyLine, models: LineModels) -> None:
    toy_line.push(1)
    models.start()
    assert ask(models) == 1 and models.manager.ready
    toy_line.push(2)
    until(lambda: ask(models) == 2)
    until(lambda: models.manager.config["toy"].policy == models_module.Specific((2,)))


def test_with_nothing_pushed_it_waits_for_the_first(toy_line: ToyLine, models: LineModels) -> None:
    models.start()
    assert not models.manager.ready
    toy_line.push(1)
    until(lambda: models.split.stable == 1)
    assert ask(models) == 1


def test_canary_labels_and_promotion(toy_line: ToyLine, models: LineModels) -> None:
    toy_line.push(1, 2)
    models.start()
    toy_line.canary(2, 0.5)
    until(lambda: models.split == Split("toy", stable=1, canary=2, share=0.5))
    answered = Counter(ask(models, f"caller-{number}") for number in range(60))
    assert set(answered) == {1, 2}
    assert ask(models, query=ModelSpecQuery("toy", label="stable")) == 1
    assert ask(models, query=ModelSpecQuery("toy", label="canary")) == 2
    toy_line.promote()
    until(lambda: models.split == Split("toy", stable=2))
    assert {ask(models, f"caller-{number}") for number in range(20)} == {2}
    assert ask(models, query=ModelSpecQuery("toy", label="stable")) == 2


def test_a_version_that_a_request_names_is_not_exchanged(toy_line: ToyLine, models: LineModels) -> None:
    toy_line.push(1, 2)
    models.start()
    toy_line.canary(2, 1.0)
    until(lambda: models.split.canary == 2)
    assert ask(models, query=ModelSpecQuery("toy", version=1)) == 1


def test_no_request_fails_while_versions_change(toy_line: ToyLine, models: LineModels) -> None:
    toy_line.push(1)
    models.start()
    stop, failures, answers = threading.Event(), [], Counter()

    def hammer(number: int) -> None:
        while not stop.is_set():
            try:
                answers[ask(models, f"{number}-{sum(answers.values())}")] += 1
            except Exception as error:  # whatever it is, a client would have had it
                failures.append(error)

    clients = [threading.Thread(target=hammer, args=(number,)) for number in range(3)]
    for client in clients:
        client.start()
    try:
        toy_line.push(2)
        until(lambda: models.split.stable == 2)
        toy_line.canary(2, 0.5)
        until(lambda: models.split.canary == 2)
        toy_line.promote()
        until(lambda: models.split == Split("toy", stable=2))
        toy_line.rollback()
        until(lambda: models.split.stable == 1)
        before = answers[1]
        until(lambda: answers[1] > before)
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not failures
    assert answers[1] and answers[2]


def test_requests_on_their_way_still_reach_a_version_whose_folder_is_gone(
    toy_line: ToyLine, models: LineModels
) -> None:
    toy_line.push(1, 2)
    models.start()
    toy_line.rollback()
    until(lambda: models.split.stable == 1)
    assert not (toy_line.base / "2").exists()
    assert ask(models, query=ModelSpecQuery("toy", version=2)) == 2


def test_a_version_that_cannot_be_loaded_gets_no_requests(toy_line: ToyLine, models: LineModels) -> None:
    toy_line.push(1)
    models.start()
    (toy_line.base / "2").mkdir()
    toy_line.record(2, "0" * 64)
    until(lambda: models._wanted.stable == 2 and models._seen is not None)
    assert ask(models) == 1
    toy_line.push(3)
    until(lambda: models.split.stable == 3)


def test_a_changed_model_is_refused(toy_line: ToyLine, models: LineModels) -> None:
    toy_line.push(1)
    (toy_line.base / "1" / "saved_model.pb").write_bytes((toy_line.base / "1" / "saved_model.pb").read_bytes()[:-9])
    with pytest.raises(ReleaseError, match="version 1, which is live, must be a model that can be served"):
        models.start()


def test_another_model_than_was_released_is_refused_unless_nobody_verifies(toy_line: ToyLine) -> None:
    toy_line.push(1)
    toy_line.push(2)
    for version in (1, 2):
        (toy_line.base / str(version)).rename(toy_line.base / f"{version}.away")
    (toy_line.base / "1.away").rename(toy_line.base / "2")
    strict = LineModels(toy_line.name, toy_line.base, toy_line.ledger)
    with pytest.raises(ReleaseError, match="must be the model that was released"):
        strict.start()
    strict.stop()
    lenient = LineModels(toy_line.name, toy_line.base, toy_line.ledger, verify=False)
    lenient.start()
    assert lenient.split.stable == 2
    lenient.stop()


def test_a_damaged_ledger_changes_nothing(toy_line: ToyLine, models: LineModels) -> None:
    toy_line.push(1)
    models.start()
    whole = toy_line.ledger.path.read_bytes()
    toy_line.ledger.path.write_bytes(whole + b"no JSON\n")
    seen = models._seen
    until(lambda: models._seen != seen)
    assert ask(models) == 1
    toy_line.ledger.path.write_bytes(whole)
    toy_line.push(2)
    until(lambda: models.split.stable == 2)
