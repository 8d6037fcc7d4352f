"""The embedded server loads what a trusted key has signed, at its start and whenever the ledger changes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from schema.errors import ReleaseError
from serving.line_server import models as models_module
from serving.line_server.models import LineModels
from serving.model_server.errors import ServingError
from serving.model_server.hooks import ModelSpecQuery
from serving.model_server.model_config import ModelConfig, ServerModels, Specific
from serving.model_server.predict import run_predict
from serving.model_server.version_state import State
from serving.signing.trust import Trust
from serving.signing.version_files import SIGNATURE_FILE
from serving.traffic import Split
from tests.serving.line_server.conftest import until
from tests.serving.model_server.toy_models import ToyModels
from tests.serving.signing.signed_line import SignedLine, trust


@pytest.fixture
def line(tmp_path: Path, toy_models: ToyModels) -> SignedLine:
    return SignedLine(tmp_path, toy_models)


Serve = Callable[..., LineModels]


@pytest.fixture
def serve(line: SignedLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Makes what serves the line; copies of models go below the test's own folder."""
    monkeypatch.setattr(models_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(models_module, "LINGER_SECONDS", 0.3)
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    made: list[LineModels] = []

    def make(by: Trust | None = None, **more: bool) -> LineModels:
        made.append(LineModels("toy", line.base, line.ledger, trust=by or trust(1), **more))
        return made[-1]

    yield make
    for models in made:
        models.stop()
    assert list((tmp_path / "copies").iterdir()) == []


def answer(models: LineModels) -> float:
    with models.manager.acquire(ModelSpecQuery("toy", models.split.stable)) as lease:
        _, outputs = run_predict(lease.servable, "serving_default", {"x": np.array([0.0], np.float32)})
        return float(outputs["y"][0])


def refused(models: LineModels, version: int, words: str) -> bool:
    """Whether /v1 would say that a version was refused, with these words."""
    status = next((s for s in models.manager.statuses("toy") if s.version == version), None)
    return status is not None and status.state is State.END and words in status.message


def test_signed_versions_are_served_and_followed(line: SignedLine, serve: Serve) -> None:
    line.push(1)
    models = serve()
    models.start()
    assert answer(models) == 1.0
    line.push(2)
    until(lambda: models.split.stable == 2)
    assert answer(models) == 2.0


def test_with_nothing_that_may_be_served_it_does_not_start(line: SignedLine, serve: Serve) -> None:
    line.push(1)
    with pytest.raises(ReleaseError, match="version 1, which is live.*the key id must be a trusted one"):
        serve(trust(2)).start()
    (line.base / "1" / "variables" / "more").write_bytes(b"")
    # That the digest is not asked for changes nothing.
    with pytest.raises(ReleaseError, match="variables/more: it must be one of the files that were signed"):
        serve(verify=False).start()
    (line.base / "1" / SIGNATURE_FILE).unlink()
    with pytest.raises(ReleaseError, match="the release must be signed"):
        serve().start()


def test_a_refused_push_leaves_the_version_before_it(
    line: SignedLine, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    line.push(1)
    models = serve()
    models.start()
    line.push(2, number=None)
    until(lambda: refused(models, 2, "the release must be signed"))
    until(lambda: "Requests stay with version 1" in caplog.text)
    assert "Version 2 of toy cannot be served" in caplog.text
    assert answer(models) == 1.0 and models.manager.ready
    line.push(3)
    until(lambda: models.split.stable == 3)
    assert answer(models) == 3.0


def test_canary_and_shadow_are_refused_too(line: SignedLine, serve: Serve) -> None:
    line.push(1, 2, 3)
    (line.base / "1" / "saved_model.pb").open("ab").write(b"\0")
    (line.base / "2" / SIGNATURE_FILE).unlink()
    models = serve()
    models.start()
    assert models.split == Split("toy", stable=3)
    line.ledger.append(line.event("canary", 2, share=0.5, from_version=3))
    until(lambda: refused(models, 2, "the release must be signed"))
    line.ledger.append(line.event("canary_ended", 2))
    line.ledger.append(line.event("shadow", 1, share=0.5))
    until(lambda: refused(models, 1, "saved_model.pb: it must be as it was signed"))
    assert models.split.stable == 3 and answer(models) == 3.0


def test_what_is_loaded_is_what_was_checked(line: SignedLine, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    line.push(1)
    checked = Trust.check

    def and_then_changed(*args: object) -> object:
        statement = checked(*args)  # type: ignore[arg-type]
        (line.base / "1" / "saved_model.pb").write_bytes(b"\xff" * 100)
        return statement

    monkeypatch.setattr(Trust, "check", and_then_changed)
    models = serve()
    models.start()
    assert answer(models) == 1.0


def test_no_other_model_can_be_slipped_in_by_a_new_config(
    line: SignedLine, serve: Serve, toy_models: ToyModels, tmp_path: Path
) -> None:
    line.push(1)
    models = serve()
    models.start()
    toy_models.write(tmp_path / "hostile", 1)
    other = ModelConfig("other", str(tmp_path / "hostile"), policy=Specific((1,)))
    with pytest.raises(ServingError, match="the release must be signed"):
        models.manager.reload(ServerModels((*models.manager.config.models, other)))
    assert answer(models) == 1.0
