"""The data of a run, looked for again: what has changed is named, span by span and file by file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from data.window import Window, resolve_window
from pipeline.rebuild.data import FoundData, find_data, lay_out
from schema.ingest import ExamplesConfig


def config(**over: object) -> ExamplesConfig:
    return ExamplesConfig.model_validate({"splits": {"train": 8, "validation": 1, "eval": 1}, **over})


@dataclasses.dataclass(frozen=True)
class Place:
    """Spans 1 to 3 of two files each, and the window of the newest two.

    Attributes:
        folder: has the folders of the spans.
        window: the window as it was.
    """

    folder: Path
    window: Window

    def look(self, moved: Path | None = None) -> FoundData:
        return find_data(self.window, PATTERNED, self.folder.parent, moved)


PATTERNED = config(input="in/day-{SPAN}/*.csv", window=2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "base" / "in"
    for span in (1, 2, 3):
        (folder / f"day-{span}").mkdir(parents=True)
        for part in ("a", "b"):
            (folder / f"day-{span}" / f"{part}.csv").write_text(f"x\n{span}{part}\n")
    return Place(folder, resolve_window(PATTERNED, folder.parent))


def test_unchanged_data_is_laid_out_as_the_same_window(place: Place, tmp_path: Path) -> None:
    (place.folder / "day-4").mkdir()
    (place.folder / "day-4" / "a.csv").write_text("x\nnewer\n")
    found = place.look()
    assert found.whole and not found.findings
    assert found.input == "day-{SPAN}/*.csv"
    lay_out(found, tmp_path / "again")
    again = resolve_window(config(input=found.input, window=2), tmp_path / "again")
    assert [span.fingerprint for span in again.spans] == [span.fingerprint for span in place.window.spans]


def test_a_changed_byte_and_a_lost_file_are_named(place: Place) -> None:
    (place.folder / "day-2" / "b.csv").write_text("x\n2c\n")
    (place.folder / "day-3" / "a.csv").unlink()
    found = place.look()
    assert not found.whole
    changed, gone = found.findings
    assert (changed.span, Path(changed.file).name) == ("2", "b.csv")
    assert changed.text.startswith("has changed: sha256 ") and changed.text.endswith(", still 5 bytes")
    assert (gone.span, Path(gone.file).name, gone.text) == ("3", "a.csv", "is gone")


def test_data_that_has_moved(place: Place, tmp_path: Path) -> None:
    place.folder.rename(tmp_path / "elsewhere")
    assert {finding.text for finding in place.look().findings} == {"is gone"}
    found = place.look(tmp_path / "elsewhere")
    assert found.whole
    lay_out(found, tmp_path / "again")
    assert (tmp_path / "again" / "day-3" / "b.csv").read_text() == "x\n3b\n"


def test_a_file_that_was_delivered_again_does_not_take_the_place_of_the_old_one(tmp_path: Path) -> None:
    given = config(input="s-{SPAN}-{VERSION}.csv")
    (tmp_path / "s-1-0.csv").write_text("x\n1\n")
    window = resolve_window(given, tmp_path)
    (tmp_path / "s-1-1.csv").write_text("x\n2\n")
    found = find_data(window, given, tmp_path)
    assert found.whole and list(found.files) == ["s-1-0.csv"]


class TestTableCutBySpans:
    """`examples.span_by`: one table, its rows cut into spans."""

    @pytest.fixture
    def given(self) -> ExamplesConfig:
        return config(input="t.csv", span_by={"column": "t", "period": "year", "unit": "iso8601"})

    def rows(self, *rows: str) -> str:
        return "t,x\n" + "".join(f"{row}\n" for row in rows)

    def test_a_table_that_has_grown_still_has_the_spans(self, given: ExamplesConfig, tmp_path: Path) -> None:
        old = ("2013-01-01,1", "2014-01-01,2")
        (tmp_path / "t.csv").write_text(self.rows(*old))
        window = resolve_window(given, tmp_path)
        (tmp_path / "t.csv").write_text(self.rows(*old, "2015-01-01,3"))
        found = find_data(window, given, tmp_path)
        assert found.whole
        (note,) = found.findings
        assert note.text.startswith("has changed") and not note.blocks

    def test_changed_rows_are_named_by_span(self, given: ExamplesConfig, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text(self.rows("2013-01-01,1", "2014-01-01,2"))
        window = resolve_window(given, tmp_path)
        (tmp_path / "t.csv").write_text(self.rows("2012-01-01,0", "2013-01-01,1", "2014-01-01,9"))
        found = find_data(window, given, tmp_path)
        assert not found.whole
        said = {(finding.span, finding.text.partition(":")[0]) for finding in found.findings}
        assert said == {
            ("all", "has changed"),
            ("2014", "has other rows"),
            ("2012", "was not there, and is now in the window"),
        }

    def test_a_table_without_the_spans_rows(self, given: ExamplesConfig, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text(self.rows("2013-01-01,1", "2014-01-01,2"))
        window = resolve_window(given, tmp_path)
        (tmp_path / "t.csv").write_text(self.rows("2013-01-01,1"))
        found = find_data(window, given, tmp_path)
        assert not found.whole and "the span must be one that is there" in found.findings[-1].text
