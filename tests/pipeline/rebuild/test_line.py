"""The line config of a rebuild: the run's own, but for where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from data.exclusion_formats import read_exclusions
from pipeline.comparison import differences
from pipeline.rebuild.line import NOT_REBUILT, rebuilt_config, write_line
from pipeline.record import RunRecord
from schema.errors import ConveyorError
from schema.line import Line
from schema.loading import load_line

ROOT = Path(__file__).resolve().parents[3]
LINES = sorted(path.name for path in (ROOT / "data").iterdir() if (path / "line.yaml").is_file())


def config_of(name: str) -> dict[str, object]:
    loaded = load_line(ROOT / "data" / name / "line.yaml")
    return loaded.line.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize("name", LINES)
def test_a_recorded_config_is_a_config_and_says_the_same(name: str) -> None:
    config = config_of(name)
    again = Line.model_validate(rebuilt_config(config, "../data/t.csv")).model_dump(mode="json", by_alias=True)
    changed = {key for key in differences(config, again) if key.partition(".")[0] not in NOT_REBUILT}
    assert changed <= {"examples.input", "schema.file", "pusher.push_destination"}


def record(**more: object) -> RunRecord:
    return RunRecord.from_dict({**RunRecord("r", "taxi", "t", config=config_of("taxi")).to_dict(), **more})


def test_nothing_leads_back_to_where_the_run_was(tmp_path: Path) -> None:
    run = record()
    run.config["pusher"]["push_destination"] = "/production/models"
    run.config["pusher"]["vertex_endpoint"] = {"project": "p"}
    run.config["metadata"] = {"backend": "mysql", "password": "***"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "schema.pbtxt").write_text("feature {}\n")
    write_line(tmp_path / "line", run, tmp_path / "run", "../data/t.csv")
    text = (tmp_path / "line" / "line.yaml").read_text()
    written = yaml.safe_load(text)
    assert "/production" not in text and "***" not in text and "vertex_endpoint" not in text
    assert written["examples"]["input"] == "../data/t.csv"
    assert (tmp_path / "line" / written["schema"]["file"]).read_text() == "feature {}\n"


def test_a_file_of_rows_that_the_run_did_not_ask_for_is_not_asked_for(tmp_path: Path) -> None:
    """With `--from` the examples are taken, whatever `examples.exclude_rows` says."""
    run = record()
    run.config["examples"]["exclude_rows"] = "gone.csv"
    write_line(tmp_path / "line", run, tmp_path / "run", "../data/t.csv")
    assert yaml.safe_load((tmp_path / "line" / "line.yaml").read_text())["examples"]["exclude_rows"] is None


class TestRowsLeftOut:
    """`examples.exclude_rows`: what the run left out is kept nowhere but in the user's file."""

    def run(self, tmp_path: Path) -> RunRecord:
        file = tmp_path / "rows.csv"
        file.write_text("company\nBlue Ribbon\n")
        digest = read_exclusions(file, ("",)).digest
        run = record(exclusions={"digest": digest, "columns": ["company"], "path": str(file)})
        run.config["examples"]["missing_values"] = [""]
        return run

    def test_the_file_goes_with_the_line(self, tmp_path: Path) -> None:
        write_line(tmp_path / "line", self.run(tmp_path), tmp_path, "x.csv")
        written = yaml.safe_load((tmp_path / "line" / "line.yaml").read_text())
        assert (tmp_path / "line" / written["examples"]["exclude_rows"]).read_text() == "company\nBlue Ribbon\n"

    def test_another_file_is_refused(self, tmp_path: Path) -> None:
        run = self.run(tmp_path)
        (tmp_path / "rows.csv").write_text("company\nRed Ribbon\n")
        with pytest.raises(ConveyorError, match="rows.csv must name the rows that the run left out, digest"):
            write_line(tmp_path / "line", run, tmp_path, "x.csv")
        (tmp_path / "rows.csv").unlink()
        with pytest.raises(ConveyorError, match="Got no such file"):
            write_line(tmp_path / "line2", run, tmp_path, "x.csv")
