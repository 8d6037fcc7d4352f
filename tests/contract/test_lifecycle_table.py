"""The lifecycle part of the protocol, row by row: `reference/tf-serving.md`, section Lifecycle."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2
from tensorflow_serving.apis.predict_pb2 import PredictResponse

from tests.contract.conftest import Launch
from tests.contract.servers import Server, model, model_config, wait_for
from tests.serving.model_server.certificates import Authority
from tests.serving.model_server.eventually import eventually
from tests.serving.model_server.grpc_asking import predict_request
from tests.serving.model_server.toy_models import ToyModels, predict_log

NO_RETRIES = "--max_num_load_retries=0"


def base(path: Path, *more: str) -> tuple[str, ...]:
    return f"--model_base_path={path}", "--model_name=m", NO_RETRIES, *more


def offset(server: Server, name: str = "m", path: str = "") -> float:
    """Returns which version answers, by its offset."""
    response = server.http("POST", f"/v1/models/{name}{path}:predict", '{"instances": [0]}')
    assert response.status_code == 200, response.text
    return float(response.json()["predictions"][0])


def reload_request(*configs: dict[str, Any]) -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    for config in configs:
        added = request.config.model_config_list.config.add(model_platform="tensorflow", name=config["name"])
        added.base_path = str(config["base_path"])
        for name, version in config.get("labels", {}).items():
            added.version_labels[name] = version
    return request


def errors(server: Server, name: str = "m") -> dict[int, tuple[int, str]]:
    """Returns version to its error, code and message."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    found = server.ask("GetModelStatus", request).model_version_status
    return {one.version: (one.status.error_code, one.status.error_message) for one in found}


def test_version_directories_are_what_parses_as_an_int64(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    versions = {"0": 0.5, "00000123": 123.0, "7": 7.0}
    for name, number in versions.items():
        toy_models.write(tmp_path / "m", name, offset=number)
    for name in ("v8", "9.0", ".10", "tmp-11", "9223372036854775808"):
        toy_models.write(tmp_path / "m", name)
    (tmp_path / "m" / "readme.txt").write_text("no version")
    config = model_config(tmp_path, model("m", tmp_path / "m", "model_version_policy { all { } }"))
    server = launch(f"--model_config_file={config}")
    assert server.versions("m") == {123: "AVAILABLE", 7: "AVAILABLE", 0: "AVAILABLE"}
    assert [offset(server, path=f"/versions/{n}") for n in (123, 7, 0)] == [123.0, 7.0, 0.5]
    assert offset(server) == 123.0


def test_policies(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    for version in (1, 2, 3):
        toy_models.write(tmp_path / "m", version, offset=float(version))
    policies = {
        "by_default": ("", {3}),
        "latest": ("model_version_policy { latest { num_versions: 2 } }", {3, 2}),
        "all": ("model_version_policy { all { } }", {3, 2, 1}),
        "specific": ("model_version_policy { specific { versions: 1 versions: 3 } }", {3, 1}),
    }
    models = [model(name, tmp_path / "m", policy) for name, (policy, _) in policies.items()]
    server = launch(f"--model_config_file={model_config(tmp_path, *models)}")
    for name, (_, expected) in policies.items():
        assert server.versions(name) == dict.fromkeys(sorted(expected, reverse=True), "AVAILABLE"), name


def test_a_new_version_is_found_within_seconds_and_replaces_the_old_one(
    launch: Launch, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    server = launch(*base(tmp_path / "m"))
    assert offset(server) == 1.0
    toy_models.write(tmp_path / "m", 2, offset=2.0)
    started = time.monotonic()
    wait_for(server, "m", {2: "AVAILABLE", 1: "END"})
    # Each second; the rest is for a machine that is busy.
    assert time.monotonic() - started < 15
    assert offset(server) == 2.0
    assert server.http("POST", "/v1/models/m/versions/1:predict", '{"instances": [0]}').status_code == 404


def test_without_a_version_yet_the_ports_stay_closed(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    (tmp_path / "m" / "not-a-version").mkdir(parents=True)
    server = launch(*base(tmp_path / "m"), wait=False)
    time.sleep(0.3)
    assert not server.is_open() and server.ended() is None
    toy_models.write(tmp_path / "m", 4, offset=4.0)
    eventually(lambda: server.is_open() or server.ended() is not None)
    assert offset(server) == 4.0


def test_ports_open_although_one_of_a_models_versions_has_failed(
    launch: Launch, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    toy_models.write_broken(tmp_path / "m", 2, "corrupt")
    policy = "model_version_policy { latest { num_versions: 2 } }"
    server = launch(f"--model_config_file={model_config(tmp_path, model('m', tmp_path / 'm', policy))}", NO_RETRIES)
    assert server.versions("m") == {2: "END", 1: "AVAILABLE"}
    code, message = errors(server)[2]
    assert code == 15 and "Can't parse" in message


def test_a_half_written_directory_is_loaded_at_once_and_a_renamed_one_is_whole(
    launch: Launch, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    server = launch(*base(tmp_path / "m"))
    toy_models.write_broken(tmp_path / "m", 2, "empty")
    wait_for(server, "m", {2: "END", 1: "AVAILABLE"})
    code, message = errors(server)[2]
    assert code == 5 and message.startswith(
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {tmp_path / 'm' / '2'}"
    )
    assert offset(server) == 1.0
    hidden = toy_models.write(tmp_path / "m", "tmp-3", offset=3.0)
    hidden.rename(tmp_path / "m" / "3")
    eventually(lambda: server.versions("m").get(3) == "AVAILABLE")
    assert offset(server) == 3.0


def test_a_swap_waits_for_the_old_versions_requests(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    server = launch(*base(tmp_path / "m"))
    loops = int(100_000 * (1 + 3 * server.poll_seconds))
    slow = server.channel().unary_unary("/tensorflow.serving.PredictionService/Predict")
    under_way = slow.future(predict_request("m", "slow", loops=np.int64(loops)).SerializeToString(), timeout=120)
    time.sleep(0.3)
    toy_models.write(tmp_path / "m", 2, offset=2.0)
    seen = set()

    def look() -> bool:
        states = server.versions("m")
        seen.add((states.get(2), states.get(1)))
        return states == {2: "AVAILABLE", 1: "END"}

    eventually(look)
    assert ("AVAILABLE", "UNLOADING") in seen
    # It was answered by the version that took it.
    assert PredictResponse.FromString(under_way.result()).model_spec.version.value == 1
    assert ("LOADING", "END") not in seen and ("START", "END") not in seen


def test_states_have_their_numbers() -> None:
    from serving.model_server.version_state import State

    numbers = {"START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50}
    assert {state.name: int(state) for state in State} == numbers
    assert dict(get_model_status_pb2.ModelVersionStatus.State.items()) == {"UNKNOWN": 0, **numbers}


def test_labels_are_given_to_available_versions_only_and_a_reload_replaces_everything(
    launch: Launch, toy_models: ToyModels, tmp_path: Path
) -> None:
    for name in "ab":
        toy_models.write(tmp_path / name, 1, offset=1.0)
    server = launch(f"--model_config_file={model_config(tmp_path, model('a', tmp_path / 'a'))}")
    a, b = ({"name": name, "base_path": tmp_path / name} for name in "ab")
    wrong = reload_request({**a, "labels": {"canary": 2}}, b)
    assert server.outcome("HandleReloadConfigRequest", wrong) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 2 of model a, which is not currently available for inference",
    )
    assert server.versions("b") == {} and server.versions("a") == {1: "AVAILABLE"}

    right = reload_request({**a, "labels": {"stable": 1}}, b)
    assert server.ask("HandleReloadConfigRequest", right).status.error_code == 0
    # It has waited until the new model is there.
    assert offset(server, "b") == 1.0 and offset(server, "a", "/labels/stable") == 1.0

    assert server.ask("HandleReloadConfigRequest", reload_request(b)).status.error_code == 0
    wait_for(server, "a", {1: "END"})
    gone = server.http("POST", "/v1/models/a:predict", '{"instances": [0]}')
    assert (gone.status_code, gone.json()["error"]) == (404, "Servable not found for request: Latest(a)")
    assert offset(server, "b") == 1.0


def test_a_reload_with_a_model_that_cannot_be_loaded(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "a", 1)
    toy_models.write_broken(tmp_path / "b", 1, "corrupt")
    server = launch(f"--model_config_file={model_config(tmp_path, model('a', tmp_path / 'a'))}", NO_RETRIES)
    a, b = ({"name": name, "base_path": tmp_path / name} for name in "ab")
    code, message = server.outcome("HandleReloadConfigRequest", reload_request(a, b))
    assert code == "UNKNOWN" and "1 model(s) did not become available" in message
    assert server.versions("a") == {1: "AVAILABLE"}


def test_a_model_that_cannot_be_loaded_ends_the_start(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write_broken(tmp_path / "m", 1, "corrupt")
    server = launch(*base(tmp_path / "m"), wait=False)
    eventually(lambda: server.ended() is not None)
    assert server.ended() != 0
    assert "1 servable(s) did not become available" in server.log() and "Can't parse" in server.log()
    assert "Traceback" not in server.log()


def test_warm_up(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    good, bad = predict_log(x=np.float32([1.0])), predict_log("no such signature", x=np.float32([1.0]))
    toy_models.write(tmp_path / "m", 1, offset=1.0, warm_up=[good] * 1000)
    server = launch(*base(tmp_path / "m"))
    assert offset(server) == 1.0
    toy_models.write(tmp_path / "m", 2, warm_up=[good, bad])
    wait_for(server, "m", {2: "END", 1: "AVAILABLE"})
    assert errors(server)[2] == (9, 'Serving signature key "no such signature" not found.')
    toy_models.write(tmp_path / "m", 3, warm_up=[good] * 1001)
    eventually(lambda: server.versions("m").get(3) == "END")
    assert errors(server)[3][1].startswith("Number of warmup records exceeds the maximum (1000)")
    assert offset(server) == 1.0


def test_deletion_unloads(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    for version in (1, 2):
        toy_models.write(tmp_path / "m", version, offset=float(version))
    server = launch(*base(tmp_path / "m"))
    assert offset(server) == 2.0
    (tmp_path / "m" / "2").rename(tmp_path / "m" / "gone")
    wait_for(server, "m", {2: "END", 1: "AVAILABLE"})
    assert offset(server) == 1.0
    # A base path that cannot be read is no reason to unload.
    (tmp_path / "m").rename(tmp_path / "elsewhere")
    time.sleep(3 * server.poll_seconds)
    assert offset(server) == 1.0
    (tmp_path / "elsewhere").rename(tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / "1")
    wait_for(server, "m", {2: "END", 1: "END"})


def test_versions_are_swapped_under_load_without_a_failed_request(
    launch: Launch, toy_models: ToyModels, tmp_path: Path
) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    server = launch(*base(tmp_path / "m"))
    stop = threading.Event()
    answers: list[set[float]] = []
    failures: list[str] = []

    def clients(ask: Callable[[], float]) -> threading.Thread:
        found: set[float] = set()
        answers.append(found)

        def run() -> None:
            while not stop.is_set():
                try:
                    found.add(ask())
                except Exception as error:
                    failures.append(repr(error))

        return threading.Thread(target=run)

    def by_grpc() -> Callable[[], float]:
        channel, request = server.channel(), predict_request("m", x=np.float32([0.0]))
        return lambda: server.ask("Predict", request, channel).outputs["y"].float_val[0]

    def by_rest() -> Callable[[], float]:
        http = httpx.Client(base_url=server.rest_url, timeout=60)
        return lambda: http.post("/v1/models/m:predict", content='{"instances": [0]}').json()["predictions"][0]

    running = [clients(make()) for make in (by_grpc, by_grpc, by_rest)]
    for one in running:
        one.start()
    try:
        for version in (2, 3):
            toy_models.write(tmp_path / "m", version, offset=float(version))
            eventually(lambda expected=version: all(expected in found for found in answers))
    finally:
        stop.set()
        for one in running:
            one.join()
    assert not failures
    assert answers == [{1.0, 2.0, 3.0}] * 3


def test_tls_is_for_grpc_only(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    authority = Authority()
    key, certificate = authority.issue()
    quoted = {name: pem.decode().replace("\n", "\\n") for name, pem in {"key": key, "cert": certificate}.items()}
    ssl = tmp_path / "ssl.config"
    ssl.write_text(f'server_key: "{quoted["key"]}" server_cert: "{quoted["cert"]}" client_verify: false')
    server = launch(*base(tmp_path / "m"), f"--ssl_config_file={ssl}")
    assert offset(server) == 1.0
    request = predict_request("m", x=np.float32([0.0]))
    with pytest.raises(grpc.RpcError) as caught:
        server.ask("Predict", request, server.channel())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    secured = server.channel(grpc.ssl_channel_credentials(authority.pem))
    assert list(server.ask("Predict", request, secured).outputs["y"].float_val) == [1.0]


def test_batching(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 2 } batch_timeout_micros { value: 60000000 }")
    server = launch(*base(tmp_path / "m"), "--enable_batching", f"--batching_parameters_file={parameters}")
    call = server.channel().unary_unary("/tensorflow.serving.PredictionService/Predict")
    first = call.future(predict_request("m", x=np.float32([2.0])).SerializeToString(), timeout=60)
    # It completes the batch, for which the first one waits.
    assert offset(server) == 1.0
    assert first.code() is grpc.StatusCode.OK
    code, message = server.outcome("Predict", predict_request("m", x=np.float32([1, 2, 3])))
    assert (code, message) == ("INVALID_ARGUMENT", "Task size 3 is larger than maximum input batch size 2")


def test_answers_in_tensor_content(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    server = launch(*base(tmp_path / "m"), "--enable_serialization_as_tensor_content")
    found = server.ask("Predict", predict_request("m", x=np.float32([2.0]))).outputs["y"]
    assert found.tensor_content == np.float32([2.0]).tobytes() and not found.float_val


def test_a_rest_request_has_so_long(launch: Launch, toy_models: ToyModels, tmp_path: Path) -> None:
    toy_models.write(tmp_path / "m", 1, offset=1.0)
    server = launch(*base(tmp_path / "m"), "--rest_api_timeout_in_ms=200")
    slow = {"signature_name": "slow", "inputs": {"loops": 100_000}}
    response = server.predict(slow, "m")
    assert (response.status_code, response.json()) == (504, {"error": "Timed out waiting for notification"})
    assert offset(server) == 1.0


def test_the_defaults_of_the_flags() -> None:
    from serving.model_server.flags import parse

    flags = parse(["--model_base_path=/m"])
    found = (flags.port, flags.rest_api_port, flags.model_name, flags.rest_api_timeout_in_ms)
    assert found == (8500, 0, "default", 30_000)
    assert flags.file_system_poll_wait_seconds == 1 and not flags.enable_batching
