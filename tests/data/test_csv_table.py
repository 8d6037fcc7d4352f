from __future__ import annotations

import csv
import gzip
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.csv_records import MAX_LINES
from data.csv_table import CsvTable
from schema.errors import ConfigError, SpanError


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, block_bytes: int = 1 << 22, missing: tuple[str, ...] = ("",)):  # noqa: ANN201
    """Returns names, rows (None where missing) with their lines, and bad rows as (line, reason, raw)."""
    table = CsvTable(str(path), missing, block_bytes)
    rows, bad, raw = [], [], []
    for block in table.blocks():
        rows += [
            (line, *row.values()) for line, row in zip(block.lines.tolist(), block.columns.to_pylist(), strict=True)
        ]
        bad += [(row.line, row.reason, row.raw) for _, row in block.bad]
        raw += block.raw.to_pylist()
        assert block.columns.num_rows == len(block.lines) == len(block.raw)
    return table.names, rows, bad, raw


def test_plain(tmp_path: Path) -> None:
    names, rows, bad, raw = read(write(tmp_path / "t.csv", "a,b\n1,x\n,y\n3,\n"))
    assert names == ("a", "b")
    assert rows == [(2, "1", "x"), (3, None, "y"), (4, "3", None)]
    assert not bad
    assert raw == [b"1,x\n", b",y\n", b"3,\n"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_bom_and_blanks_in_the_header(tmp_path: Path, end: str, last: bool) -> None:
    content = end.join([" a , b", "1,x", "", "2,y"]) + (end if last else "")
    names, rows, bad, _ = read(write(tmp_path / "t.csv", b"\xef\xbb\xbf" + content.encode()))
    assert names == ("a", "b")
    assert rows == [(2, "1", "x"), (4, "2", "y")]
    assert not bad


def test_quoted_newlines_keep_physical_line_numbers(tmp_path: Path) -> None:
    content = 'a,b\n1,"x\ny"\n2,"say ""hi"", ok"\n3,plain\n4,"é\r\nü"\n5,z\n'
    _, rows, bad, raw = read(write(tmp_path / "t.csv", content))
    assert rows == [(2, "1", "x\ny"), (4, "2", 'say "hi", ok'), (5, "3", "plain"), (6, "4", "é\r\nü"), (8, "5", "z")]
    assert not bad
    assert b"".join(raw) == content.encode()[4:]


def test_header_over_two_lines_and_blank_lines_before_it(tmp_path: Path) -> None:
    names, rows, _, _ = read(write(tmp_path / "t.csv", '\n\n"a\nb",c\n1,2\n'))
    assert names == ("a\nb", "c")
    assert rows == [(5, "1", "2")]


def test_empty_and_header_only_files(tmp_path: Path) -> None:
    assert read(write(tmp_path / "e.csv", "")) == ((), [], [], [])
    assert read(write(tmp_path / "n.csv", "\n\n")) == ((), [], [], [])
    assert read(write(tmp_path / "h.csv", "a,b\n")) == (("a", "b"), [], [], [])
    assert read(write(tmp_path / "h2.csv", "a,b")) == (("a", "b"), [], [], [])


def test_header_names(tmp_path: Path) -> None:
    assert read(write(tmp_path / "t.csv", ",a,\n0,1,2\n"))[0] == ("column_1", "a", "column_3")
    with pytest.raises(ConfigError, match=r"t\.csv must be unique. Got 'a' for columns 1 and 3"):
        read(write(tmp_path / "t.csv", "a,b, a\n1,2,3\n"))


def test_bad_rows_have_line_and_reason(tmp_path: Path) -> None:
    content = b"a,b\n1,x\n2\n3,y,z\n4,\xff\xfe\n5,ok\n6,n\0l\n"
    _, rows, bad, _ = read(write(tmp_path / "t.csv", content))
    assert rows == [(2, "1", "x"), (6, "5", "ok")]
    assert [line for line, _, _ in bad] == [3, 4, 5, 7]
    assert "2 fields. Got 1" in bad[0][1] and bad[0][2] == "2"
    assert "2 fields. Got 3" in bad[1][1] and bad[1][2] == "3,y,z"
    assert "column 'b' must be UTF-8" in bad[2][1] and bad[2][2] == "4,\\xff\\xfe"
    assert "NUL" in bad[3][1]


def test_positions_of_bad_rows(tmp_path: Path) -> None:
    table = CsvTable(str(write(tmp_path / "t.csv", "a,b\nbad\n1,x\n2,y\nbad\nbad\n3,z\nbad\n")))
    (block,) = table.blocks()
    assert [(position, row.line) for position, row in block.bad] == [(0, 2), (2, 5), (2, 6), (3, 8)]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    content = "a,b\n1,x\n" + '2,"open\n' + "".join(f"{n},y\n" for n in range(3, 50))
    _, rows, bad, _ = read(write(tmp_path / "t.csv", content))
    assert [int(row[1]) for row in rows] == [1, *range(3, 50)]
    assert [line for line, _, _ in bad] == [3]
    assert "quote" in bad[0][1] and bad[0][2] == '2,"open'


def test_a_stray_quote_that_meets_another_one_costs_its_own_row(tmp_path: Path) -> None:
    content = 'a,b\n1,"open\n2,x\n3,y\n4,"fine"\n5,z\n'
    _, rows, bad, _ = read(write(tmp_path / "t.csv", content))
    assert [row[1] for row in rows] == ["2", "3", "4", "5"]
    assert [line for line, _, _ in bad] == [2]


def test_a_quote_open_for_too_many_lines_is_given_up(tmp_path: Path) -> None:
    lines = [f"{n},y\n" for n in range(MAX_LINES + 500)]
    content = "a,b\n" + '0,"open\n' + "".join(lines) + '9,"x"\n'
    _, rows, bad, _ = read(write(tmp_path / "t.csv", content), 1 << 14)
    assert len(rows) == len(lines) + 1
    assert [line for line, _, _ in bad] == [2]


def test_missing_values(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,b\nNA,"q"\n?,x\n,NA \n')
    assert read(path, missing=("NA", "?"))[1] == [(2, None, "q"), (3, None, "x"), (4, "", "NA ")]
    path = write(tmp_path / "t.csv", "a,b\nNA,q\n?,x\n,NA \n")
    assert read(path, missing=("NA", "?"))[1] == [(2, None, "q"), (3, None, "x"), (4, "", "NA ")]


def test_other_encodings_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="UTF-16"):
        read(write(tmp_path / "t.csv", "a,b\n1,2\n".encode("utf-16")))
    with pytest.raises(ConfigError, match="UTF-8"):
        read(write(tmp_path / "t.csv", b"a,\xe9\n1,2\n"))
    with pytest.raises(SpanError, match="No such file"):
        read(tmp_path / "none.csv")


def test_gzip_and_sha256(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv.gz", gzip.compress(b"a,b\n1,x\n"))
    assert read(path)[1] == [(2, "1", "x")]
    table = CsvTable(str(path))
    wanted = hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.sha256() == wanted
    table = CsvTable(str(path))
    list(table.blocks())
    assert table.sha256() == wanted


def test_only_some_columns(tmp_path: Path) -> None:
    for content in ("a,b,c\n1,2,3\n", 'a,b,c\n1,"2",3\n'):
        (block,) = CsvTable(str(write(tmp_path / "t.csv", content))).blocks({"b"})
        assert block.columns.to_pylist() == [{"b": "2"}]


FIELD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
TABLE = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(FIELD, min_size=width, max_size=width), max_size=30))


@settings(max_examples=50)
@given(
    rows=TABLE,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    block_bytes=st.sampled_from([1, 16, 64, 1 << 20]),
    final=st.booleans(),
)
def test_what_the_csv_module_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    quoting: int,
    end: str,
    block_bytes: int,
    final: bool,
) -> None:
    width = len(rows[0]) if rows else 2
    if quoting == csv.QUOTE_MINIMAL:
        # Before Python 3.13 the writer leaves a carriage return without quotes.
        rows = [[field.replace("\r", "") for field in row] for row in rows]
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=quoting, lineterminator=end)
    writer.writerow([f"c{n}" for n in range(width)])
    writer.writerows(rows)
    content = out.getvalue()
    content = content if final else content.removesuffix(end)
    path = write(tmp_path_factory.mktemp("csv") / "t.csv", content)
    _, found, bad, raw = read(path, block_bytes)
    assert not bad
    assert [list(row[1:]) for row in found] == [[field or None for field in row] for row in rows]
    # Lines are where Python's csv module says that they are.
    reader = csv.reader(io.StringIO(content, newline=""))
    next(reader)
    starts, before = [], reader.line_num
    for _ in reader:
        starts.append(before + 1)
        before = reader.line_num
    assert [row[0] for row in found] == starts
    assert b"".join(raw).rstrip(b"\r\n") == content.encode()[len(content.split(end)[0]) + len(end) :].rstrip(b"\r\n")


@settings(max_examples=50)
@given(st.binary(max_size=200), st.sampled_from([1, 8, 1 << 20]))
def test_any_bytes_are_read_in_the_same_way_in_any_blocks(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, block_bytes: int
) -> None:
    path = write(tmp_path_factory.mktemp("csv") / "t.csv", b"a,b\n" + content)
    whole, cut = read(path), read(path, block_bytes)
    assert whole == cut
    # No line is lost: every line is blank, of a good row, or of a bad one.
    texts = list(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
    first_lines = {row[0] for row in whole[1]} | {line for line, _, _ in whole[2]}
    covered = sum(len(list(io.StringIO(raw.decode("utf-8", "surrogateescape"), newline=""))) for raw in whole[3])
    blank = sum(1 for text in texts if not text.strip("\r\n"))
    assert covered + len(whole[2]) <= len(texts) <= covered + len(whole[2]) + blank
    assert len(first_lines) == len(whole[1]) + len(whole[2])


def test_both_ways_of_parsing_agree(tmp_path: Path) -> None:
    lines = [f"{n},{n / 7:.3f},name {n % 5},{'' if n % 3 else 'x'}" for n in range(500)]
    plain = read(write(tmp_path / "p.csv", "\n".join(["a,b,c,d", *lines]) + "\n"))
    # One quoted field sends the whole block through the csv module.
    lines[17] = lines[17].replace("name 2", '"name 2"')
    careful = read(write(tmp_path / "c.csv", "\n".join(["a,b,c,d", *lines]) + "\n"))
    assert plain[:3] == careful[:3]
