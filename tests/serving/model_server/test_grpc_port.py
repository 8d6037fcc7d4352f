"""Addresses to listen on."""

from __future__ import annotations

import pytest

from serving.model_server.grpc_port import host_and_port


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1:8500"), ("::1", "[::1]:8500"), ("::", "[::]:8500"), ("", "0.0.0.0:8500")],
)
def test_an_ipv6_host_is_in_brackets(host: str, address: str) -> None:
    assert host_and_port(host, 8500) == address
