"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from conveyor.cli import VERBS
from pipeline.run import NODES
from pipeline.verdict import EXIT_CODES
from schema.line import Line
from schema.loading import shipped_lines

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for folder in re.findall(r"^\| `([a-z/]+/)`", README, re.M):
        assert (ROOT / folder).is_dir(), folder


def test_verbs_are_those_of_the_command_line() -> None:
    named = set(re.findall(r"`conveyor ([a-z]+(?:-[a-z]+)*)", README))
    assert named == set(VERBS)


def test_verdicts_and_exit_codes() -> None:
    rows = dict(re.findall(r"^\| ([a-z -]+?) \| (\d) \|", README, re.M))
    documented = {name: int(code) for name, code in rows.items()}
    assert documented.pop("usage or config error") == 2
    assert documented == {name: code for name, code in EXIT_CODES.items() if name != "stopped"}


def test_the_example_is_a_valid_line() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    line = Line.model_validate(yaml.safe_load(text))
    assert line.name == "taxi"


def test_the_lines_are_those_that_are_there() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \| [^|]*\? ?(?:\(.*?\))? \|", README, re.M)) == set(shipped_lines())


def test_the_picture_shows_every_node() -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)```", README, re.S)
    for node in NODES:
        assert f"[{node}]" in picture, node


def test_make_doors_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for door in re.findall(r"(?:^|`)make ([a-z-]+)", README, re.M):
        assert re.search(rf"^{door}:", makefile, re.M), door
