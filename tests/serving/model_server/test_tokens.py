"""The file of tokens."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from schema.errors import UsageError
from serving.model_server import tokens
from serving.model_server.tokens import Role, TokenFile


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "tokens", "# who asks\nread  r1\n\nread: r2\nadmin a1 \n")


def test_each_token_has_its_role(file: Path) -> None:
    found = TokenFile(file)
    assert [found.role(t) for t in ("r1", "r2", "a1")] == [Role.READ, Role.READ, Role.ADMIN]
    assert [found.role(t) for t in ("", "r", "r11", "read", "R1", "#", "\udcff")] == [None] * 7


def test_of_two_roles_the_higher_counts(tmp_path: Path) -> None:
    found = TokenFile(written(tmp_path / "tokens", "admin t\nread t\n"))
    assert found.role("t") == Role.ADMIN


def test_every_token_is_compared_whatever_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = TokenFile(file)
    compared: list[tuple[bytes, bytes]] = []
    original = tokens.hmac.compare_digest
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or original(a, b))
    counts = []
    for token in ("r1", "a1", "no such", "x" * 1000):
        compared.clear()
        found.role(token)
        counts.append(len(compared))
        assert {len(side) for pair in compared for side in pair} == {32}
    assert counts == [3] * 4


def test_a_changed_file_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = TokenFile(file)
    written(file, "read r3\n")
    now = tokens.time.monotonic()
    assert found.role("r3") is None, "it is looked at once a second"
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + 1.5)
    assert found.role("r3") == Role.READ
    assert found.role("r1") is None


@pytest.mark.parametrize("change", ["gone", "wrong", "open to others"])
def test_a_file_that_became_wrong_leaves_the_tokens_in_force(
    file: Path, change: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = TokenFile(file)
    if change == "gone":
        file.unlink()
    elif change == "wrong":
        written(file, "nonsense secret-word")
    else:
        file.chmod(0o644)
    now = tokens.time.monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + 1.5)
    with caplog.at_level(logging.ERROR):
        assert found.role("r1") == Role.READ
    assert "the tokens read before stay in force" in caplog.text
    assert str(file) in caplog.text
    assert "secret-word" not in caplog.text


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601, 0o660, 0o620])
def test_a_file_that_others_have_access_to_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(UsageError) as caught:
        TokenFile(file)
    assert f"Got mode {mode:04o}" in str(caught.value)
    assert caught.value.hint == f"chmod 600 {file}"
    os.chmod(file, 0o600)
    assert TokenFile(file).role("r1") == Role.READ


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o640])
def test_the_group_may_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert TokenFile(file).role("r1") == Role.READ


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have at least one token"),
        ("# none\n", "must have at least one token"),
        ("read a\nhunter2", ":2 must be a role, read or admin, and a token. Got 1 word(s) instead"),
        (
            "write hunter2",
            ":1 must be a role, read or admin, and a token. Got 2 word(s), of which the first is no role",
        ),
        ("read hunter2 hunter3", ":1 must be a role, read or admin, and a token. Got 3 word(s) instead"),
        ("read hunter2é", ":1 must have a token of printable ASCII characters"),
        ("read hunter2\x01", ":1 must have a token of printable ASCII characters"),
    ],
)
def test_a_wrong_file_is_an_error_that_shows_no_token(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TokenFile(written(tmp_path / "tokens", text))
    assert message in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_no_file_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="must be a file of tokens"):
            TokenFile(path)
