"""Which folders of a base path are versions, and which of those a policy takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.model_config import All, Latest, ModelConfig, Policy, Specific
from serving.model_server.source import BasePaths, aspired_versions, version_number, versions_by_number


@pytest.mark.parametrize(
    ("name", "version"),
    [("1", 1), ("00000123", 123), ("0", 0), ("-5", -5), ("+7", 7), (" 8 ", 8), (str(2**63 - 1), 2**63 - 1)],
)
def test_names_that_are_versions(name: str, version: int) -> None:
    assert version_number(name) == version


@pytest.mark.parametrize(
    "name",
    # The last two: digits that Python takes and an int64 parser does not.
    ["", " ", "a", "1a", "1.rolled-back", ".tmp-2", "2.tmp", "1e3", "0x10", "1_000", "--1", "1 2", "\u0661", "\uff11"],
)
def test_names_that_are_none(name: str) -> None:
    assert version_number(name) is None


@pytest.mark.parametrize("name", [str(2**63), str(-(2**63) - 1), "9" * 5000])
def test_numbers_beyond_64_bits_are_none(name: str) -> None:
    assert version_number(name) is None


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 20))
def test_every_int64_is_read_back(number: int, zeros: int) -> None:
    sign, digits = ("-", str(-number)) if number < 0 else ("", str(number))
    assert version_number(sign + "0" * zeros + digits) == number


@given(st.text())
def test_any_name_is_a_version_or_not(name: str) -> None:
    number = version_number(name)
    assert number is None or int(name) == number


def test_of_two_names_for_one_version_the_last_counts() -> None:
    assert versions_by_number(["7", "007", "x"]) == {7: "7"}
    assert versions_by_number(["007", "7"]) == {7: "7"}


def aspired(base_path: Path, policy: Policy) -> dict[int, str] | None:
    versions = aspired_versions(ModelConfig("m", str(base_path), policy=policy))
    return None if versions is None else {version: path.name for version, path in versions.items()}


@pytest.fixture
def base_path(tmp_path: Path) -> Path:
    for name in ("1", "002", "3", "10", "11.rolled-back", ".tmp-12", "notes.txt"):
        (tmp_path / "m" / name).mkdir(parents=True)
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Latest(), {10: "10"}),
        (Latest(0), {10: "10"}),
        (Latest(3), {2: "002", 3: "3", 10: "10"}),
        (Latest(99), {1: "1", 2: "002", 3: "3", 10: "10"}),
        (All(), {1: "1", 2: "002", 3: "3", 10: "10"}),
        (Specific((2, 3)), {2: "002", 3: "3"}),
        (Specific((3, 4)), {3: "3"}),
        (Specific((4,)), {}),
        (Specific(()), {}),
    ],
)
def test_policies(base_path: Path, policy: Policy, expected: dict[int, str]) -> None:
    assert aspired(base_path, policy) == expected


def test_an_empty_base_path_has_no_versions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert aspired(tmp_path, Latest()) == {}
    assert str(tmp_path) in caplog.text


def test_a_base_path_that_cannot_be_listed_says_nothing_about_its_versions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert aspired(tmp_path / "gone", Latest()) is None
    assert aspired(tmp_path / "file", Latest()) is None
    assert str(tmp_path / "gone") in caplog.text


def test_what_is_amiss_is_told_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    look, model = BasePaths(), ModelConfig("m", str(tmp_path / "m"))
    told = []
    for _ in range(2):
        for _ in range(3):
            assert look(model) is None
        (tmp_path / "m").mkdir()
        for _ in range(3):
            assert look(model) == {}
        (tmp_path / "m" / "1").mkdir()
        for _ in range(3):
            assert look(model) == {1: tmp_path / "m" / "1"}
        (tmp_path / "m").rename(tmp_path / f"away{len(told)}")
        told.append([record.getMessage().split(" m ")[0] for record in caplog.records])
        caplog.clear()
    assert (
        told
        == [
            [
                "Could not find base path " + str(tmp_path / "m") + " for servable m: No such file or directory",
                "No versions of servable",
            ]
        ]
        * 2
    )


def test_links_are_followed_and_versions_stay_children_of_the_base_path(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "5").symlink_to(tmp_path / "elsewhere")
    versions = aspired_versions(ModelConfig("m", str(tmp_path / "m"), policy=All()))
    assert versions == {5: tmp_path / "m" / "5"}
