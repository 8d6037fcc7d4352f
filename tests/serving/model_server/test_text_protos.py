"""Configs as text protocol buffers: what they say, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.errors import ConfigError
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.text_protos import read_batching, read_metrics_path, read_text, read_tls
from tests.serving.model_server.certificates import Authority

DEFAULT = "/monitoring/prometheus/metrics"


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "config.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("prometheus_config { enable: true }", DEFAULT),
        ('prometheus_config: { enable: true, path: "/m" }', "/m"),
        ("prometheus_config < enable: true path: '/a' '/b' > # with a comment", "/a/b"),
        ('prometheus_config { path: "/m" }', ""),
    ],
)
def test_monitoring(tmp_path: Path, text: str, path: str) -> None:
    assert read_metrics_path(written(tmp_path, text), DEFAULT) == path


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("prometheus_config {\n  enabled: true\n}", ":2", "enabled"),
        ("prometheus_config {\n  enable: maybe\n}", ":2", "maybe"),
        ("\n\nprometheus_config {", ":3", "MonitoringConfig"),
        ("prometheus_config { enable: true path: 'm' }", "", "must begin with a slash. Got 'm'"),
        (b"# ok\n# \xff", ":2", "must be UTF-8. Got the byte 0xff"),
    ],
)
def test_wrong_monitoring(tmp_path: Path, text: str | bytes, line: str, words: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_metrics_path(file, DEFAULT)
    assert str(caught.value).startswith(f"{file}{line}: ")
    assert words in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--some_file must be a file that can be read. Got .*none.* \(No such file"):
        read_text(tmp_path / "none", "some_file")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_text(tmp_path, "some_file")


def quoted(pem: bytes) -> str:
    return '"' + pem.decode().replace("\n", "\\n") + '"'


def test_certificates(tmp_path: Path) -> None:
    authority = Authority()
    key, certificate = authority.issue()
    pems = f"server_key: {quoted(key)}\nserver_cert: {quoted(certificate)}\n"
    tls = read_tls(written(tmp_path, pems))
    assert (tls.server_key, tls.server_cert, tls.custom_ca, tls.client_verify) == (key, certificate, b"", False)
    mutual = read_tls(written(tmp_path, f"{pems}custom_ca: {quoted(authority.pem)}\nclient_verify: true"))
    assert (mutual.custom_ca, mutual.client_verify) == (authority.pem, True)


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    authority = Authority()
    key, certificate = authority.issue()
    other, _ = authority.issue()
    file = written(tmp_path, f"server_key: {quoted(other)} server_cert: {quoted(certificate)}")
    with pytest.raises(ConfigError) as caught:
        read_tls(file)
    assert str(caught.value).startswith(f"{file}: server_key and server_cert")
    with pytest.raises(ConfigError, match="custom_ca"):
        read_tls(written(tmp_path, f"server_key: {quoted(key)} server_cert: {quoted(certificate)} client_verify: true"))


def test_no_message_shows_a_key(tmp_path: Path) -> None:
    secret = "MIIEvQIBADANBg"
    texts = [
        (f"server_key: {secret}", 1),
        (f"server_key: 'a'\n{secret}: 'b'", 2),
        (f"\nserver_key: '{secret}", 2),
        (secret, 1),
    ]
    for text, line in texts:
        file = written(tmp_path, text)
        with pytest.raises(ConfigError) as caught:
            read_tls(file)
        assert str(caught.value).startswith(f"{file}:{line}: ")
        assert secret not in str(caught.value)


def test_batching_defaults(tmp_path: Path) -> None:
    """As in TensorFlow Serving: the threads have another name with a file than without."""
    assert read_batching("") == BatchingParameters(thread_pool_name="model_server_batch_threads")
    assert read_batching(written(tmp_path, "")) == BatchingParameters()
    defaults = BatchingParameters()
    assert (defaults.max_batch_size, defaults.batch_timeout_micros, defaults.max_enqueued_batches) == (1000, 0, 10)
    assert defaults.thread_pool_name == "batch_threads"
    assert defaults.threads >= 1


def test_batching(tmp_path: Path) -> None:
    text = """
    max_batch_size { value: 16 }
    batch_timeout_micros { value: 0 }
    max_enqueued_batches { value: 1000000 }
    num_batch_threads { value: 8 }
    thread_pool_name { value: 'pool' }
    enable_large_batch_splitting { value: true }
    max_execution_batch_size { value: 8 }
    allowed_batch_sizes: 4
    allowed_batch_sizes: [8, 16]
    pad_variable_length_inputs: true
    """
    found = read_batching(written(tmp_path, text))
    assert found == BatchingParameters(16, 0, 1000000, 8, "pool", True, 8, (4, 8, 16), True)
    assert (found.threads, found.execution_batch_size) == (8, 8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_size: 16", ":1: Error parsing text-format tensorflow.serving.BatchingParameters"),
        ("max_batch { value: 16 }", "max_batch"),
        ("num_batch_threads { value: 0 }", ": num_batch_threads must be positive; was 0"),
        ("max_batch_size { value: 0 }", ": max_batch_size must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", ": batch_timeout_micros must be non-negative; was -1"),
        ("max_enqueued_batches { value: 0 }", ": max_enqueued_batches must be positive; was 0"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            ": Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [8, 8]", "monotonically increasing"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [0, 8]", "monotonically increasing"),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 9 }",
            "When enable_large_batch_splitting is true",
        ),
    ],
)
def test_wrong_batching(tmp_path: Path, text: str, words: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_batching(file)
    assert str(caught.value).startswith(f"{file}:")
    assert words in str(caught.value)


def test_an_execution_size_counts_only_where_requests_are_split() -> None:
    assert BatchingParameters(max_batch_size=8, max_execution_batch_size=4).execution_batch_size == 8
