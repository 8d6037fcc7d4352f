"""TensorFlow Serving itself as a child: its command, its model config, and what becomes of it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from schema.errors import UsageError
from serving.line_server.binary import choose_backend, command, model_config
from serving.model_server.model_config import ServerModels, Specific
from serving.traffic import Split
from tests.serving.line_server.conftest import until

FAKE = """#!{python}
import pathlib, signal, sys, time
pathlib.Path({note!r}).write_text("\\n".join(sys.argv[1:]))
signal.signal(signal.SIGTERM, signal.SIG_DFL)
time.sleep({seconds})
sys.exit(3)
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


def test_the_model_config_is_what_the_server_reads() -> None:
    text = model_config(Split("taxi", stable=3, canary=5, share=0.1), Path("/models/taxi"))
    (model,) = ServerModels.from_text(text, "models.config").models
    assert (model.name, model.base_path, model.policy) == ("taxi", "/models/taxi", Specific((3, 5)))
    assert model.labels == {"stable": 3, "canary": 5}


def test_the_command_of_the_container_mounts_the_models_read_only(tmp_path: Path) -> None:
    arguments = command("docker", tmp_path / "models.config", Path("/x/taxi"), host="127.0.0.1", port=1, rest_port=2)
    assert "/x/taxi:/models/taxi:ro" in arguments and "127.0.0.1:1:8500" in arguments
    assert "--model_config_file=/config/models.config" in arguments


@pytest.mark.parametrize("ends", ["by itself", "by SIGTERM"])
def test_its_end_is_ours(tmp_path: Path, ends: str) -> None:
    path = fake_binary(tmp_path, 0 if ends == "by itself" else 60)
    script = (
        "import sys; from pathlib import Path; from serving.ledger import Ledger\n"
        "from serving.line_server.binary import BinaryServer\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "ledger = Ledger(folder / 'releases.jsonl')\n"
        "server = BinaryServer('taxi', folder / 'taxi', ledger, folder, 'tensorflow_model_server')\n"
        "sys.exit(server.run(host='127.0.0.1', port=1, rest_port=2))\n"
    )
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    until((tmp_path / "arguments").exists, 60)
    if ends == "by SIGTERM":
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == (3 if ends == "by itself" else 0)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert {"--port=1", "--rest_api_port=2", "--model_config_file_poll_wait_seconds=1"} <= set(arguments)
    assert (tmp_path / "models.config").is_file()
