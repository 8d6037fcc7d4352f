from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.window import OpenWindow, Window, locate, resolve_window, window_of
from schema.errors import ConfigError, SpanError
from schema.ingest import ExamplesConfig

QUARTER = {"column": "t", "period": "quarter", "unit": "iso8601"}


def config(**keys) -> ExamplesConfig:  # noqa: ANN003
    return ExamplesConfig(**keys)


def table(path: Path, *days: str) -> Path:
    path.write_text("t,x\n" + "".join(f"{day},{n}\n" for n, day in enumerate(days)))
    return path


def test_input_in_a_mounted_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVEYOR_GCS_MOUNT", str(tmp_path))
    with pytest.raises(ConfigError, match="examples.input must be in a bucket that is mounted at .*/bucket"):
        resolve_window(config(input="gs://bucket/s-{SPAN}.csv"), tmp_path / "elsewhere")
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "s-1.csv").write_text("a\n1\n")
    window = resolve_window(config(input="gs://bucket/s-{SPAN}.csv"), tmp_path / "elsewhere")
    assert window.spans[0].files[0].path == str(tmp_path / "bucket" / "s-1.csv")


def labels(window: Window) -> list[str]:
    return [span.label for span in window.spans]


def test_spans_by_pattern(tmp_path: Path) -> None:
    for name in ("1-0", "2-0", "2-1", "3-0"):
        (tmp_path / f"s-{name}.csv").write_text(f"a\n{name}\n")
    window = resolve_window(config(input="s-{SPAN}-{VERSION}.csv"), tmp_path)
    assert [(span.span, span.version) for span in window.spans] == [(1, 0), (2, 1), (3, 0)]
    assert window.format == "csv"
    assert Window.from_json(window.to_json()) == window
    assert window.spans[1].files[0].path == str(tmp_path / "s-2-1.csv")
    assert labels(resolve_window(config(input="s-{SPAN}-{VERSION}.csv", window=2), tmp_path)) == ["2", "3"]
    assert labels(resolve_window(config(input="s-{SPAN}-{VERSION}.csv", window=2), tmp_path, "2")) == ["1", "2"]
    assert labels(resolve_window(config(input="s-{SPAN}-{VERSION}.csv", window=1), tmp_path, "latest")) == ["3"]
    with pytest.raises(SpanError, match=r"Got '7' instead; the newest of 3 are 1, 2, 3"):
        resolve_window(config(input="s-{SPAN}-{VERSION}.csv"), tmp_path, "7")


def test_a_gap_names_what_is_missing(tmp_path: Path) -> None:
    for day in ("2016-02-27", "2016-02-28", "2016-03-01"):
        (tmp_path / f"{day}.csv").write_text("a\n1\n")
    pattern = "{YYYY}-{MM}-{DD}.csv"
    with pytest.raises(SpanError, match="from span 2016-02-27 to 2016-03-01 .*missing: 2016-02-29"):
        resolve_window(config(input=pattern), tmp_path)
    assert len(resolve_window(config(input=pattern, allow_gaps=True), tmp_path).spans) == 3
    assert labels(resolve_window(config(input=pattern, window=1), tmp_path)) == ["2016-03-01"]
    assert labels(resolve_window(config(input=pattern), tmp_path, "2016-02-28")) == ["2016-02-27", "2016-02-28"]


def test_a_gap_in_a_cut_table(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", "2013-01-01", "2013-11-01")
    with pytest.raises(SpanError, match="missing: 2013Q2, 2013Q3") as caught:
        resolve_window(config(input="t.csv", span_by=QUARTER), tmp_path)
    assert "allow_gaps" in caught.value.hint


def test_nothing_there(tmp_path: Path) -> None:
    table(tmp_path / "trips.csv", "2013-01-01")
    with pytest.raises(SpanError, match=r"'trip\.csv' instead; in .* there is trips\.csv"):
        resolve_window(config(input="trip.csv"), tmp_path)
    with pytest.raises(SpanError, match="at least one file"):
        resolve_window(config(input="s-{SPAN}.csv"), tmp_path)
    (tmp_path / "empty.csv").write_text("t,x\n")
    for name in ("empty.csv", "none.csv"):
        (tmp_path / "none.csv").write_text("")
        with pytest.raises(SpanError, match=f"time in column 't'. Got none in {name}"):
            resolve_window(config(input=name, span_by=QUARTER), tmp_path)
    with pytest.raises(ConfigError, match="Got 'T' instead. Did you mean 't'"):
        resolve_window(config(input="trips.csv", span_by={**QUARTER, "column": "T"}), tmp_path)
    with pytest.raises(ConfigError, match="no span pattern"):
        resolve_window(config(input="{SPAN}.csv", span_by=QUARTER), tmp_path)
    with pytest.raises(ConfigError, match=r"must end in \.csv"):
        resolve_window(config(input="t.txt"), tmp_path)


def test_fingerprints_of_files(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    first = resolve_window(config(input="t.csv"), tmp_path)
    os.utime(path, (1, 1))
    assert resolve_window(config(input="t.csv"), tmp_path) == first
    path.write_text("a\n2\n")
    assert resolve_window(config(input="t.csv"), tmp_path).spans[0].fingerprint != first.spans[0].fingerprint
    assert labels(first) == ["0"]


def test_fingerprints_of_a_cut_table_are_of_the_span_s_rows(tmp_path: Path) -> None:
    def fingerprints(*days: str, edit=lambda text: text) -> dict[str, str]:  # noqa: ANN001
        path = table(tmp_path / "t.csv", *days)
        path.write_text(edit(path.read_text()))
        window = resolve_window(config(input="t.csv", span_by=QUARTER), tmp_path)
        return {span.label: span.fingerprint for span in window.spans}

    days = ("2013-05-01", "2013-01-01", "2013-02-01", "2013-08-01")
    first = fingerprints(*days)
    assert list(first) == ["2013Q1", "2013Q2", "2013Q3"]
    added = fingerprints(*days, "2013-10-01")
    assert {label: added[label] for label in first} == first
    assert len(set(added.values())) == 4
    changed = fingerprints(*days, edit=lambda text: text.replace("2013-02-01,2", "2013-02-01,3"))
    assert [label for label in first if first[label] != changed[label]] == ["2013Q1"]
    assert fingerprints(*days, edit=lambda text: text.removesuffix("\n")) == first
    renamed = fingerprints(*days, edit=lambda text: text.replace("t,x", "t,y"))
    assert all(first[label] != renamed[label] for label in first)
    bad = fingerprints(*days, edit=lambda text: text + "oops\n")
    assert [label for label in first if first[label] != bad[label]] == ["2013Q3"]


def test_a_package_is_found_without_importing_it(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "slowpackage"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "t.csv").write_text("a\n1\n")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'lib')!r}, '.']\n"
        "from pathlib import Path\nfrom data.window import locate\n"
        "print(locate('package:slowpackage/t.csv', Path('/')))\n"
        "assert 'tensorflow' not in sys.modules and 'tfx' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(package / "t.csv")


@pytest.mark.parametrize(
    "text", ["package:no_such_package/t.csv", "package:tfx", "package:os.path/t.csv", "package:/t"]
)
def test_packages_that_are_not_there(text: str) -> None:
    with pytest.raises(ConfigError, match="installed top-level package"):
        locate(text, Path("/"))


def test_the_taxi_trips_are_16_quarters() -> None:
    path = "package:tfx/examples/chicago_taxi_pipeline/data/simple/data.csv"
    taxi = config(input=path, span_by={"column": "trip_start_timestamp", "period": "quarter"})
    window = resolve_window(taxi, Path("/"))
    assert labels(window)[0] == "2013Q1" and labels(window)[-1] == "2016Q4" and len(window.spans) == 16
    assert window.spans[0].span == 172
    for selection in ("2013Q3", "2013q3", "174"):
        assert labels(resolve_window(taxi, Path("/"), selection)) == ["2013Q1", "2013Q2", "2013Q3"]


def test_an_open_window_has_the_spans_that_are_there_when_it_is_read(tmp_path: Path) -> None:
    config = ExamplesConfig(input="t-{SPAN}.csv", window=2)
    text = OpenWindow(base_dir=str(tmp_path), selection="all").to_json()
    for span in (1, 2):
        (tmp_path / f"t-{span}.csv").write_text("x,y\n1,2\n")
    closed = window_of(text, config)
    assert [span.span for span in closed.spans] == [1, 2]
    (tmp_path / "t-3.csv").write_text("x,y\n1,2\n")
    assert [span.span for span in window_of(text, config).spans] == [2, 3]
    assert window_of(closed.to_json(), config) == closed
