"""The executable: its texts, its errors, and its life as a process."""

from __future__ import annotations

import gc
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from data.whole_file import replace_text
from serving.client import Client
from serving.model_server import main as executable
from serving.model_server.main import main
from tests.serving.model_server.certificates import Authority
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.server_process import ROOT, ServerProcess, free_ports
from tests.serving.model_server.toy_models import ToyModels


@pytest.fixture
def _in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The executable in the tests' own process, whose log and garbage collector stay theirs."""
    monkeypatch.setattr(executable, "_set_up_logging", lambda: None)
    yield
    gc.unfreeze()


@pytest.fixture
def base_path(tmp_path: Path, toy_models: ToyModels) -> Path:
    toy_models.write(tmp_path / "m", 1)
    return tmp_path / "m"


def test_texts(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first.startswith("conveyor-model-server: ") and second.startswith("TensorFlow Library: 2.")
    assert main(["--port=1", "--help"]) == 0
    assert "--rest_api_port=0" in capfd.readouterr().out


def test_texts_and_wrong_flags_need_no_tensorflow() -> None:
    code = (
        "import sys; from serving.model_server.main import main;"
        "codes = [main([word]) for word in ('--version', '--help', '--prot=1')];"
        "assert codes == [0, 0, 2], codes; assert 'tensorflow' not in sys.modules and 'grpc' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 2 and "did you mean --port?" in done.stderr


def failure(capfd: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    """Returns the exit code and the only words of a server that cannot start."""
    capfd.readouterr()
    code = main(flags)
    # gRPC has words of its own on a taken port.
    _, start, error = capfd.readouterr().err.partition("Failed to start server. Error: ")
    assert start and "Traceback" not in error
    return code, error


@pytest.mark.usefixtures("_in_process")
def test_configs_that_cannot_be_used(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("\nimproperly formatted file")
    model = "--model_base_path=/m"
    for flags, words in [
        ((f"--model_config_file={file}",), f"{file}:2: Error parsing text-format tensorflow.serving.ModelServerConfig"),
        ((f"--model_config_file={tmp_path}/no",), "--model_config_file must be a file that can be read"),
        ((model, f"--monitoring_config_file={file}"), f"{file}:2: Error parsing"),
        ((model, f"--ssl_config_file={file}"), f"{file}:2: Error parsing"),
        ((model, "--enable_batching", f"--batching_parameters_file={file}"), f"{file}:2: Error parsing"),
        ((model, f"--tokens_file={tmp_path}/no"), f"{tmp_path}/no must be a file of tokens"),
        ((model, "--grpc_channel_arguments=a"), "channel arguments must be name=value"),
        (("--model_base_path=relative",), "an absolute path"),
        ((model, "--model_name="), "to have a name"),
    ]:
        code, error = failure(capfd, *flags)
        assert code == 2 and words in error


@pytest.mark.usefixtures("_in_process")
def test_a_taken_port(capfd: pytest.CaptureFixture[str], base_path: Path) -> None:
    (free,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for ports in ([f"--port={port}"], [f"--port={free}", f"--rest_api_port={port}"]):
            code, error = failure(capfd, "--host=127.0.0.1", *ports, f"--model_base_path={base_path}")
            assert code == 2 and f"127.0.0.1:{port} must be" in error and "ss -ltnp" in error


@pytest.mark.usefixtures("_in_process")
def test_a_model_that_does_not_load(capfd: pytest.CaptureFixture[str], tmp_path: Path, toy_models: ToyModels) -> None:
    toy_models.write_broken(tmp_path / "m", 1, "empty")
    code, error = failure(capfd, f"--model_base_path={tmp_path}/m", "--max_num_load_retries=0")
    assert code == 1
    expected = "UNKNOWN: 1 servable(s) did not become available: {{{name: default version: 1} due to error: NOT_FOUND: "
    assert error.startswith(expected)


def test_flags_without_meaning_are_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executable, "_set_up_logging", lambda: None)
    monkeypatch.setattr(executable, "_serve", lambda flags: 0)
    with caplog.at_level(logging.WARNING):
        assert main(["--model_base_path=/m", "--prefer_tflite_model", "--num_unload_threads=2"]) == 0
    (record,) = caplog.records
    assert "--prefer_tflite_model (" in record.getMessage() and "--num_unload_threads (" in record.getMessage()


def write_config(file: Path, **base_paths: Path) -> None:
    models = (
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'
        for name, path in base_paths.items()
    )
    replace_text(file, f"model_config_list {{ {' '.join(models)} }}")


def test_its_life(tmp_path: Path, toy_models: ToyModels) -> None:
    toy_models.write(tmp_path / "a", 1)
    toy_models.write(tmp_path / "b", 1, offset=5.0)
    config, monitoring, sock = tmp_path / "models.config", tmp_path / "monitoring.config", tmp_path / "socket"
    write_config(config, a=tmp_path / "a")
    monitoring.write_text("prometheus_config { enable: true path: '/metrics' }")
    flags = [
        *(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1"),
        *(f"--monitoring_config_file={monitoring}", f"--grpc_socket_path={sock}"),
        *("--enable_grpc_healthcheck_service", "--rest_api_enable_cors_support", "--prefer_tflite_model=false"),
    ]
    with ServerProcess(*flags) as server:
        server.until_ready()
        assert server.predict(model="a").json() == {"predictions": [2.0]}
        for address in (server.grpc, f"unix:{sock}"):
            with grpc.insecure_channel(address) as channel:
                check = channel.unary_unary("/grpc.health.v1.Health/Check")
                assert check(b"", timeout=60) == b"\x08\x01"
        with Client("a", server.grpc) as client:
            assert [status.version for status in client.status()] == [1]
        page = httpx.get(f"{server.rest}/metrics").text
        assert ':tensorflow:serving:request_count{model_name="a",status="OK"}' in page
        asked = httpx.get(f"{server.rest}/v1/models/a", headers={"Origin": "http://x"})
        assert asked.headers["access-control-allow-origin"] == "*"

        replace_text(config, "improper")
        server.until("The model config file cannot be followed")
        assert server.predict(model="a").status_code == 200
        write_config(config, b=tmp_path / "b")
        eventually(lambda: server.predict(model="b").status_code == 200)
        eventually(lambda: server.predict(model="a").status_code == 404)
        toy_models.write(tmp_path / "b", 2, offset=6.0)
        eventually(lambda: server.predict(model="b").json() == {"predictions": [6.0]})

        answers: list[httpx.Response] = []
        slow = {"signature_name": "slow", "inputs": 300_000}
        url = f"{server.rest}/v1/models/b:predict"
        ask = threading.Thread(target=lambda: answers.append(httpx.post(url, json=slow, timeout=120)))
        before = server.worked()
        ask.start()
        # Nothing else makes it work so much.
        eventually(lambda: server.worked() > before + 0.5)
        assert server.stop() == 0
        ask.join()
        assert answers[0].json() == {"outputs": 300_000}
        assert "Traceback" not in "".join(server.lines)
        assert sum("mean nothing here: --prefer_tflite_model" in line for line in server.lines) == 1


@pytest.mark.slow
def test_it_waits_for_the_first_version(tmp_path: Path, toy_models: ToyModels) -> None:
    """The ports open once there is one, as TensorFlow Serving's do; until then a signal ends it well, too."""
    model = (f"--model_base_path={tmp_path}/m", "--model_name=m")
    with ServerProcess(*model) as server:
        server.until("Could not find base path")
        with pytest.raises(httpx.ConnectError):
            server.predict()
        toy_models.write(tmp_path / "m", 3)
        assert server.until_ready().predict().json() == {"predictions": [2.0]}
        assert server.stop() == 0
    with ServerProcess(*model[1:], f"--model_base_path={tmp_path}/none") as server:
        server.until("Could not find base path")
        assert server.stop() == 0


@pytest.mark.slow
def test_certificates_and_tokens(base_path: Path, tmp_path: Path) -> None:
    authority = Authority()
    key, certificate = authority.issue()
    ssl = tmp_path / "ssl.config"
    quoted = [pem.decode().replace("\n", "\\n") for pem in (key, certificate)]
    ssl.write_text(f'server_key: "{quoted[0]}" server_cert: "{quoted[1]}"')
    tokens, ca = tmp_path / "tokens", tmp_path / "ca.pem"
    tokens.touch(0o600)
    tokens.write_text("read secret")
    ca.write_bytes(authority.pem)
    flags = (f"--model_base_path={base_path}", "--model_name=m", f"--ssl_config_file={ssl}", f"--tokens_file={tokens}")
    with ServerProcess(*flags, "--rest_api_enable_ssl") as server:
        server.until_ready()
        url = server.rest.replace("http:", "https:") + "/v1/models/m"
        bearer = {"authorization": "Bearer secret"}
        assert httpx.get(url, verify=str(ca), headers=bearer).status_code == 200
        assert httpx.get(url, verify=str(ca)).status_code == 401
        with grpc.secure_channel(server.grpc, grpc.ssl_channel_credentials(authority.pem)) as channel:
            status = channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")
            assert status(b"\x0a\x03\x0a\x01m", metadata=tuple(bearer.items()), timeout=60)
            with pytest.raises(grpc.RpcError) as caught:
                status(b"\x0a\x03\x0a\x01m", timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with ServerProcess(*flags) as server:
        server.until_ready()
        assert httpx.get(f"{server.rest}/v1/models/m", headers=bearer).status_code == 200


@pytest.mark.slow
def test_batching(base_path: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 2 }")
    model = (f"--model_base_path={base_path}", "--model_name=m")
    with ServerProcess(*model, "--enable_batching", f"--batching_parameters_file={parameters}") as server:
        server.until_ready()
        url = f"{server.rest}/v1/models/m:predict"
        assert httpx.post(url, json={"instances": [0.0, 2.0]}, timeout=60).json() == {"predictions": [2.0, 3.0]}
        refused = httpx.post(url, json={"instances": [0.0, 2.0, 4.0]}, timeout=60)
        assert refused.status_code == 400
        assert refused.json() == {"error": "Task size 3 is larger than maximum input batch size 2"}
        assert server.stop() == 0


_IMPATIENT = """
import functools, sys
from serving.model_server import draining, main
draining.serve_until_signal = functools.partial(draining.serve_until_signal, grace=0.5)
sys.exit(main.main())
"""


@pytest.mark.slow
def test_a_request_that_does_not_end_does_not_keep_the_process(base_path: Path) -> None:
    flags = (f"--model_base_path={base_path}", "--model_name=m")
    with ServerProcess(*flags, program=("-c", _IMPATIENT)) as server:
        server.until_ready()
        before = server.worked()
        endless = {"signature_name": "slow", "inputs": 10**12}
        url = f"{server.rest}/v1/models/m:predict"
        answers: list[httpx.Response] = []
        ask = threading.Thread(target=lambda: answers.append(httpx.post(url, json=endless, timeout=120)))
        ask.start()
        eventually(lambda: server.worked() > before + 0.5)
        assert server.stop() == 0
        ask.join()
        assert answers[0].status_code == 503
        assert any("TensorFlow is still at work" in line for line in server.lines)
