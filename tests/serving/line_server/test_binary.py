"""TensorFlow Serving itself as a child: which server is chosen, its command, and what becomes of it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from schema.errors import UsageError
from serving.client.target import Address
from serving.gateway.upstream import Upstream
from serving.line_server.binary import choose_backend, command
from tests.serving.line_server.conftest import until

FAKE = """#!{python}
import pathlib, signal, sys, time
pathlib.Path({note!r}).write_text("\\n".join(sys.argv[1:]))
signal.signal(signal.SIGTERM, signal.SIG_DFL)
time.sleep({seconds})
sys.exit(3)
"""

SERVE = """
import sys
from pathlib import Path
from schema.serving import ServingConfig
from serving.line_server.binary import BinaryServer
from serving.line_server.served_line import ServedLine

folder = Path(sys.argv[1])
line = ServedLine(
    name="toy",
    base_path=folder / "toy",
    ledger=folder / "releases.jsonl",
    capture=folder / "capture",
    config=ServingConfig(),
    config_folder=folder,
)
server = BinaryServer(line, "tensorflow_model_server", host="127.0.0.1", port=0, rest_port=0, verify=False)
sys.exit(server.run(lambda gateway: None) or 0)
"""


def fake_binary(folder: Path, seconds: int) -> Path:
    """Puts a `tensorflow_model_server` into a folder; it notes its arguments, sleeps and ends with 3."""
    path = folder / "bin" / "tensorflow_model_server"
    path.parent.mkdir()
    path.write_text(FAKE.format(python=sys.executable, note=str(folder / "arguments"), seconds=seconds))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path.parent


def test_auto_takes_the_binary_when_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_backend("auto") == "embedded"
    monkeypatch.setenv("PATH", str(fake_binary(tmp_path, 0)))
    assert choose_backend("auto") == "tensorflow_model_server"
    with pytest.raises(UsageError, match="needs docker on the PATH"):
        choose_backend("docker")


def test_a_container_reads_the_models_and_is_reached_from_here_only(tmp_path: Path) -> None:
    upstream = Upstream("127.0.0.1:1", Address("127.0.0.1", 2))
    arguments = command("docker", tmp_path / "models.config", Path("/x/taxi"), upstream)
    assert "/x/taxi:/models/taxi:ro" in arguments and f"{tmp_path}:/config:ro" in arguments
    assert [arguments[n + 1] for n, word in enumerate(arguments) if word == "-p"] == [
        "127.0.0.1:1:8500",
        "127.0.0.1:2:8501",
    ]
    assert "--model_config_file=/config/models.config" in arguments


def test_the_binary_answers_grpc_at_a_socket_only(tmp_path: Path) -> None:
    upstream = Upstream(f"unix:{tmp_path}/grpc.sock", Address("127.0.0.1", 2))
    arguments = command("tensorflow_model_server", tmp_path / "models.config", Path("/x/taxi"), upstream)
    assert {"--port=0", f"--grpc_socket_path={tmp_path}/grpc.sock", "--rest_api_port=2"} <= set(arguments)


@pytest.mark.parametrize("ends", ["by itself", "by SIGTERM"])
def test_its_end_is_ours(tmp_path: Path, ends: str) -> None:
    path = fake_binary(tmp_path, 0 if ends == "by itself" else 60)
    environment = {
        **os.environ,
        "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "TMPDIR": str(tmp_path / "t"),
    }
    (tmp_path / "t").mkdir()
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path)], env=environment)
    until((tmp_path / "arguments").exists, 60)
    if ends == "by SIGTERM":
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == (3 if ends == "by itself" else 0)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "--model_config_file_poll_wait_seconds=1" in arguments
    # Neither the socket nor the config is left behind.
    assert not list((tmp_path / "t").iterdir())
