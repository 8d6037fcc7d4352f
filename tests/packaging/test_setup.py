"""What `python setup.py sdist`, which Beam runs for its workers, makes; and what comes out when it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import conveyor

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ["schema", "data", "serving", "components", "pipeline", "monitoring", "conveyor"]


def in_tree(*patterns: str) -> set[str]:
    return {str(file.relative_to(ROOT)) for pattern in patterns for file in ROOT.glob(pattern) if file.is_file()}


SOURCES = in_tree(*(f"{name}/**/*.py" for name in PACKAGES))
# Whatever else lies in a package is there to be read at run time.
DATA = {file for file in in_tree(*(f"{name}/**/*" for name in PACKAGES)) if Path(file).suffix not in (".py", ".pyc")}


def setup(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", *arguments], cwd=folder, capture_output=True, text=True, env=clean()
    )
    assert done.returncode == 0, done.stderr


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built in a copy of the tree without git, caches or environments; then unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "docs", "benchmarks")
    shutil.copytree(ROOT, tree, ignore=ignored)
    setup(tree, "sdist")
    (archive,) = (tree / "dist").iterdir()
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def installed(sdist: Path) -> Path:
    """The archive's wheel, built from the unpacked archive alone, laid out as an installer does."""
    setup(sdist, "bdist_wheel", "--dist-dir", str(sdist.parent / "wheel"))
    (wheel,) = (sdist.parent / "wheel").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    target = sdist.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


@pytest.fixture(scope="module")
def metadata(installed: Path) -> Message:
    (info,) = installed.glob("*.dist-info")
    return Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"))


def test_the_archive_has_every_module_and_its_data(sdist: Path) -> None:
    assert {"data/taxi/line.yaml", "schema/taxi/schema.pbtxt"} <= DATA
    for name in SOURCES | DATA | {"setup.py", "pyproject.toml"} | in_tree("requirements/*.in"):
        assert (sdist / name).is_file(), name


def test_what_is_installed_is_the_packages_and_their_data_and_no_more(installed: Path) -> None:
    files = {str(file.relative_to(installed)) for file in installed.rglob("*") if file.is_file()}
    files = {file for file in files if ".dist-info/" not in file}
    assert files == SOURCES | DATA


def test_every_folder_with_modules_is_a_package() -> None:
    for file in SOURCES:
        assert (ROOT / file).parent.joinpath("__init__.py").is_file(), f"{Path(file).parent}/__init__.py is not there"


def test_what_is_installed_can_be_imported_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, sys\n"
        f"sys.path.insert(0, {str(installed)!r})\n"
        f"for name in {PACKAGES}:\n"
        f"    module = importlib.import_module(name)\n"
        f"    assert module.__file__.startswith({str(installed)!r}), module.__file__\n"
        "import schema.line, conveyor.doctor\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=clean())
    assert done.returncode == 0, done.stderr


SHOW_TAXI = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from schema.loading import load_line, shipped_lines
found = shipped_lines()["taxi"]
assert found.is_relative_to(sys.argv[1]), found
assert (found.parent / load_line(found).line.schema_.file).is_file()
from conveyor.cli import main
raise SystemExit(main(["config", "show", "taxi"]))
"""


def test_the_lines_that_come_along_are_found_away_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHOW_TAXI, str(installed)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=clean())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("name: taxi\n")


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "conveyor-tfx"
    assert metadata["Version"] == conveyor.__version__ == "0.1.0"
    assert metadata["Requires-Python"] == ">=3.10"


@pytest.mark.parametrize(("python", "tfx"), [("3.10", "1.16.0"), ("3.11", "1.21.0"), ("3.12", "1.21.0")])
def test_each_python_gets_its_tfx_line_and_no_development_tools(metadata: Message, python: str, tfx: str) -> None:
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]

    def wanted(extra: str) -> dict[str, Requirement]:
        variables = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
        fitting = (one for one in required if one.marker is None or one.marker.evaluate(variables))
        return {one.name: one for one in fitting}

    always, development = wanted(""), wanted("dev")
    assert str(always["tfx"].specifier) == f"=={tfx}"
    assert {"click", "dill", "pydantic", "rich", "setuptools", "apache-beam"} <= set(always)
    assert {"pytest", "ruff", "mypy", "hypothesis"} <= set(development) - set(always)


def test_the_commands_are_installed(installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    text = (info / "entry_points.txt").read_text(encoding="utf-8")
    assert "conveyor = conveyor.cli:main" in text
    assert "conveyor-model-server = serving.model_server.main:main" in text
    from conveyor.cli import main
    from serving.model_server import main as model_server

    assert callable(main) and callable(model_server.main)
