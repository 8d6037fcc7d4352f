"""Addresses, models, TLS files and token files, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.errors import UsageError
from serving.client import Client, Tls, read_token
from serving.client.target import Address, Api, Model


@pytest.mark.parametrize(
    ("text", "api", "shown", "loopback"),
    [
        ("127.0.0.1:1234", "gRPC", "127.0.0.1:1234", True),
        ("localhost", "gRPC", "localhost:8500", True),
        ("serving.example", "REST", "serving.example:8501", False),
        ("[::1]:80", "REST", "[::1]:80", True),
        ("[::1]", "gRPC", "[::1]:8500", True),
        ("fe80::1", "gRPC", "[fe80::1]:8500", False),
        ("127.9.9.9", "gRPC", "127.9.9.9:8500", True),
        ("10.0.0.1", "gRPC", "10.0.0.1:8500", False),
    ],
)
def test_addresses(text: str, api: Api, shown: str, loopback: bool) -> None:
    address = Address.parse(text, api)
    assert (str(address), address.loopback) == (shown, loopback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":8500",
        "a:",
        "a:b",
        "a:0",
        "a:65536",
        "a:-1",
        "http://a:1",
        "a/b",
        "a:1:2",
        "[::1",
        "[::1]8",
        "a b",
        "a:１",
        "u@h",
    ],
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="the address must be HOST:PORT, e.g. 127.0.0.1:8500") as raised:
        Address.parse(text, "gRPC")
    assert f"Got {text!r} instead" in str(raised.value)


def test_an_api_that_is_none() -> None:
    with pytest.raises(UsageError, match="api must be one of gRPC, REST. Got 'grpc' instead"):
        Client("m", api="grpc")  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["batch_rows", "in_flight", "deadline_seconds"])
def test_options_that_must_be_more_than_nothing(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} must be more than 0. Got 0 instead"):
        Client("m", **{option: 0})  # type: ignore[arg-type]


def test_a_model_without_a_name() -> None:
    with pytest.raises(UsageError, match="must have a name"):
        Model("")


def test_tls_files(tmp_path: Path) -> None:
    there = tmp_path / "there.pem"
    there.write_text("x")
    with pytest.raises(UsageError, match="must be given together"):
        Tls(certificate=there)
    with pytest.raises(UsageError, match=r"key must be a PEM file. Got .*absent.pem instead"):
        Tls(certificate=there, key=tmp_path / "absent.pem")


def test_token_files(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" s3cret\n")
    assert read_token(file) == "s3cret"
    for content in (b"", b"read s3cret\n", b"s3cret\nmore\n", b"\xff\xfes3cret", "s3cret\u00fc".encode()):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="must hold one token") as raised:
            read_token(file)
        assert "s3cret" not in str(raised.value)
    with pytest.raises(UsageError, match="must be readable. Got No such file"):
        read_token(tmp_path / "absent")
