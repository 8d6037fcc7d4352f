"""A version is what was signed, to the last bit, or it is refused by the name of what does not match."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.errors import ReleaseError
from serving.ledger import Ledger
from serving.ledger_events import LedgerEvent
from serving.signing.statement import Statement, StatementError
from serving.signing.trust import claimed_key
from serving.signing.version_files import SIGNATURE_FILE, check_files, file_digests
from tests.serving.signing.conftest import Place
from tests.serving.signing.signed_line import FACTS, ORIGIN, sign, trust

# The place is put back after each example.
MANY = settings(max_examples=70, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def flip(path: Path, place: int, bit: int) -> bytes:
    """Flips a bit somewhere in a file and returns what was there before."""
    before = path.read_bytes()
    changed = bytearray(before)
    changed[place % len(changed)] ^= 1 << bit
    path.write_bytes(changed)
    return before


def test_what_was_signed_holds(place: Place) -> None:
    statement = place.check(1)
    assert place.check(2, keys=(1, 2)).predicate.version == 2
    assert statement.line == "toy" and statement.predicate.origin == ORIGIN
    assert statement.predicate.spans == tuple(FACTS["spans"])
    assert set(statement.files) == {
        path.relative_to(place.base / "1").as_posix() for path in place.files() if path.name != SIGNATURE_FILE
    }
    assert len(statement.files) >= 3


@MANY
@given(data=st.data())
def test_every_bit_of_a_pushed_model_counts(place: Place, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([path for path in place.files() if path.stat().st_size]))
    before = flip(path, data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(0, 7)))
    try:
        with pytest.raises(ReleaseError, match=re.escape(str(path))) as error:
            place.check()
        if path.name == SIGNATURE_FILE:
            assert re.search("the (signature|key id|envelope) must be", str(error.value))
        else:
            assert "must be as it was signed, SHA-256" in str(error.value)
    finally:
        path.write_bytes(before)


@MANY
@given(data=st.data())
def test_every_bit_of_the_ledgers_entry_counts(place: Place, data: st.DataObject) -> None:
    content = place.ledger.read_bytes()
    entry = content.index(b"\n") + 1
    at = data.draw(st.integers(0, entry - 1))
    before = flip(place.ledger, at, data.draw(st.integers(0, 7)))
    try:
        with pytest.raises(ReleaseError) as error:
            place.check(1)
        # What is no entry any more is the ledger's damage; what still is one differs in a field that is named.
        named = re.search(
            r"the release ledger is damaged|(\w+) of the ledger's entry must be|must have an entry in the ledger",
            str(error.value),
        )
        assert named is not None
        if named[1] is not None:
            assert named[1] in LedgerEvent.model_fields and "Got" in str(error.value)
    finally:
        place.ledger.write_bytes(before)


def test_the_newline_at_the_ledgers_end_counts(place: Place) -> None:
    place.ledger.write_bytes(place.ledger.read_bytes()[:-1] + b"\x0b")
    with pytest.raises(ReleaseError, match="version 2 must have an entry in the ledger, whose last line is torn"):
        place.check(2)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"verdict":"pushed"', b'"verdict":"blessed"', "verdict of the ledger's entry must be 'pushed'.*'blessed'"),
        (b'"run_id":"run-1"', b'"run_id":"run-7"', "run_id of the ledger's entry must be 'run-1'.*Got 'run-7'"),
        (b'"reason":"a test",', b"", "reason of the ledger's entry must be 'a test'.*Got nothing"),
        (b'"who":"ada"', b'"who":"ada","share":0.5', "share of the ledger's entry must be nothing.*Got 0.5"),
    ],
)
def test_a_changed_entry_is_named_with_both_values(place: Place, old: bytes, new: bytes, words: str) -> None:
    place.ledger.write_bytes(place.ledger.read_bytes().replace(old, new, 1))
    with pytest.raises(ReleaseError, match=words):
        place.check(1)
    assert place.check(2).predicate.version == 2


def test_what_is_added_removed_or_linked(place: Place) -> None:
    folder = place.base / "1"
    for name in ("more", "variables/more", "assets.extra/more"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
        with pytest.raises(ReleaseError, match=f"{name}: it must be one of the files that were signed"):
            place.check()
        (folder / name).unlink()
    model, away = folder / "saved_model.pb", place.base / "away"
    model.rename(away)
    with pytest.raises(ReleaseError, match="saved_model.pb: it must be there"):
        place.check()
    model.symlink_to(away)
    with pytest.raises(ReleaseError, match="saved_model.pb: it must be a file or a folder.*Got a symbolic link"):
        place.check()
    model.unlink()
    os.mkfifo(model)
    with pytest.raises(ReleaseError, match="saved_model.pb: it must be a file or a folder.*Got something else"):
        place.check()
    model.unlink()
    away.rename(model)
    (folder / "variables").rename(away)
    (folder / "variables").symlink_to(away)
    with pytest.raises(ReleaseError, match="variables: it must be a file or a folder.*Got a symbolic link"):
        place.check()
    (folder / "variables").unlink()
    away.rename(folder / "variables")
    folder.rename(away)
    folder.symlink_to(away)
    with pytest.raises(ReleaseError, match="1: it must be a folder of a signed release. Got a symbolic link"):
        place.check()


def test_a_signature_that_is_a_link_does_not_count(place: Place) -> None:
    file = place.base / "1" / SIGNATURE_FILE
    file.rename(place.base / "away")
    file.symlink_to(place.base / "away")
    with pytest.raises(ReleaseError, match="must be a file that can be read"):
        place.check()


def test_signatures_of_two_versions_exchanged(place: Place) -> None:
    one, two = (place.base / name / SIGNATURE_FILE for name in "12")
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    with pytest.raises(ReleaseError, match="must be about version 1. Got one about version 2"):
        place.check(1)
    with pytest.raises(ReleaseError, match="must be about version 2. Got one about version 1"):
        place.check(2)


def test_versions_exchanged_with_their_signatures(place: Place) -> None:
    shutil.rmtree(place.base / "1")
    shutil.copytree(place.base / "2", place.base / "1")
    with pytest.raises(ReleaseError, match="must be about version 1. Got one about version 2"):
        place.check(1)


def test_a_statement_about_another_line(place: Place) -> None:
    with pytest.raises(ReleaseError, match="must be about the line taxi. Got one about toy"):
        place.check(1, line="taxi")


def test_an_unsigned_version(place: Place) -> None:
    assert claimed_key(place.base / "1") == next(iter(trust(1).keys))
    (place.base / "1" / SIGNATURE_FILE).write_text("{}")
    assert claimed_key(place.base / "1") == ""
    (place.base / "1" / SIGNATURE_FILE).unlink()
    assert claimed_key(place.base / "1") is None
    with pytest.raises(ReleaseError, match="the release must be signed. Got one without release.dsse.json"):
        place.check()


def test_another_key(place: Place) -> None:
    with pytest.raises(ReleaseError, match="the key id must be a trusted one"):
        place.check(keys=(2, 3))
    event = Ledger(place.ledger).state().entries[1].pushed
    sign(place.base / "1", event, number=9)
    with pytest.raises(ReleaseError, match="the key id must be a trusted one"):
        place.check()
    # One who claims another's key id has not its signature.
    content = (place.base / "1" / SIGNATURE_FILE).read_bytes()
    mine, theirs = (next(iter(trust(number).keys)).encode() for number in (9, 1))
    (place.base / "1" / SIGNATURE_FILE).write_bytes(content.replace(mine, theirs))
    with pytest.raises(ReleaseError, match="the signature must be that of key"):
        place.check()


def test_a_verdict_that_says_no_is_refused_whoever_signed_it(place: Place) -> None:
    event = Ledger(place.ledger).state().entries[1].pushed
    statement = place.check(1)
    verdict = statement.predicate.verdict
    for key in ("evaluation", "infra_validation"):
        word = getattr(verdict, key).model_copy(update={"blessed": False})
        changed = statement.predicate.model_copy(update={"verdict": verdict.model_copy(update={key: word})})
        with pytest.raises(StatementError, match=f"verdict.{key}.blessed must be true. Got false"):
            statement.model_copy(update={"predicate": changed}).check("toy", event)


def test_another_statement_than_ours_is_none() -> None:
    for payload in (b"", b"{}", b"[]", b'{"_type": 1, "predicateType": 2}', b"[" * 100_000):
        with pytest.raises(StatementError):
            Statement.from_payload(payload)


def test_the_copy_is_of_what_was_checked(place: Place, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    state = Ledger(place.ledger).state()
    statement = trust(1).check(place.base / "1", state, 1, copy)
    assert file_digests(copy) == statement.files
    check_files(copy, statement.files)
