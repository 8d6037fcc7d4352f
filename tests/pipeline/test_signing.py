"""How a release is to be signed is known before the run, and the key is in nothing that is kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from data.window import Window
from pipeline import signing as signing_module
from pipeline.identity import Provenance
from pipeline.inputs import RunInputs
from pipeline.signing import signing_order, with_key_id
from pipeline.unchanged import inputs_digest
from schema.base import sha256_json
from schema.errors import ConfigError
from schema.loading import LoadedLine, load_line
from serving.signing.keys import key_id
from serving.signing.statement import Origin
from tests.serving.signing.signed_line import a_key, private_pem, write_keys

PEM = private_pem(a_key(1)).decode()
KEY_ID = key_id(a_key(1).public_key())


CODE = Provenance("0" * 40, True, "1" * 64, "2" * 64, "3.10.13", {})


@pytest.fixture(autouse=True)
def code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code everywhere."""
    monkeypatch.setattr(signing_module, "provenance", lambda: CODE)


def loaded(folder: Path, signing: dict[str, str] | None, env: dict[str, str] | None = None) -> LoadedLine:
    config: dict[str, Any] = {
        "name": "toy",
        "task": "regression",
        "label": {"name": "y"},
        "examples": {"input": "t.csv"},
        "pusher": {"signing": signing},
    }
    (folder / "line.yaml").write_text(yaml.safe_dump(config))
    return load_line(folder / "line.yaml", env=env or {})


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    assert signing_order(loaded(tmp_path, None)) is None


def test_an_order_names_what_the_release_is_made_by(tmp_path: Path) -> None:
    write_keys(tmp_path)
    line = loaded(tmp_path, {"key_file": "1.key"})
    order = signing_order(line)
    assert order is not None
    assert order.origin == Origin(
        config_digest=sha256_json(line.line.model_dump(mode="json", by_alias=True)),
        git_commit="0" * 40,
        git_dirty=True,
        git_diff_sha256="1" * 64,
        lock_sha256="2" * 64,
    )
    assert (order.key_file, order.key, order.key_id) == (str(tmp_path / "1.key"), None, None)
    assert with_key_id(order, line, {}).key_id == KEY_ID


def test_the_key_from_the_environment_is_in_no_order(tmp_path: Path) -> None:
    env = {"RELEASE_KEY": PEM}
    line = loaded(tmp_path, {"key": "${RELEASE_KEY}"}, env)
    assert line.secrets == {"pusher.signing.key": PEM}
    order = signing_order(line)
    assert order is not None
    order = with_key_id(order, line, env)
    assert (order.key, order.key_id) == ("${RELEASE_KEY}", KEY_ID)
    secret = PEM.splitlines()[1]
    assert all(secret not in text for text in (order.canonical(), line.line.canonical(), repr(line), repr(order)))


@pytest.mark.parametrize(
    ("signing", "words"),
    [
        ({}, "must set key_file or key. Got neither"),
        ({"key": "${RELEASE_KEY}", "key_file": "1.key"}, "must set key_file or key. Got both"),
        ({"key": PEM}, "pusher.signing.key is a secret and must be given as"),
        ({"key": "${NONE}"}, "pusher.signing.key: the environment variable NONE must be set"),
    ],
)
def test_a_section_that_names_no_key(tmp_path: Path, signing: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        loaded(tmp_path, signing, {"RELEASE_KEY": PEM})
    assert PEM.splitlines()[1] not in str(error.value)


def test_a_key_that_cannot_be_used_is_told_of_with_the_config(tmp_path: Path) -> None:
    line = loaded(tmp_path, {"key_file": "none.key"})
    order = signing_order(line)
    assert order is not None
    with pytest.raises(ConfigError, match=r"line.yaml: pusher.signing.key_file must be a file that can be read"):
        with_key_id(order, line, {})


def test_another_key_makes_another_run_and_another_commit_does_not(tmp_path: Path) -> None:
    write_keys(tmp_path)
    line = loaded(tmp_path, {"key_file": "1.key"})
    order = signing_order(line)
    assert order is not None
    inputs = RunInputs(Window(format="csv", spans=()), {}, Path("s"), "", {}, signing=with_key_id(order, line, {}))
    assert inputs.signing is not None

    def digest(**changes: Any) -> str:
        assert inputs.signing is not None
        changed = dataclasses.replace(inputs, signing=inputs.signing.model_copy(update=changes))
        return inputs_digest(line.line, changed)

    origin = inputs.signing.origin.model_copy(update={"git_commit": "9" * 40})
    assert digest(origin=origin) == digest()
    assert digest(key_id="0" * 64) != digest()
