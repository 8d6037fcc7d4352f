"""A gRPC server's ports and options, whatever it answers there."""

from __future__ import annotations

from typing import Any

from schema.errors import UsageError
from serving.model_server.access import Access


def host_and_port(host: str, port: int | str | None) -> str:
    """Returns an address as gRPC and URLs have it: an IPv6 host in brackets, `0.0.0.0` for none."""
    return f"[{host}]:{port}" if ":" in host else f"{host or '0.0.0.0'}:{port}"


def listen(server: Any, address: str, access: Access) -> int:
    """Opens a port.

    Args:
        server: the `grpc.aio` server, not started yet.
        address: `HOST:PORT`, or `unix:PATH`.
        access: has the certificates.

    Returns:
        The port; of port 0 the one that was free.

    Raises:
        UsageError: it is taken, the socket cannot be made, or the certificates are wrong.
    """
    tls = access.tls
    try:
        if tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, tls.grpc_credentials()))
    except RuntimeError as e:
        raise UsageError(
            f"{address} must be an address to listen on. It cannot be opened",
            hint="see who has it: ss -ltnp; or choose another --port"
            if not address.startswith("unix:")
            else "choose another --grpc_socket_path, at most 107 bytes long, in a folder that can be written to",
        ) from e


def server_options(access: Access, channel_arguments: str = "") -> list[tuple[str, int | str]]:
    """Returns the options of a server.

    Args:
        access: has the limits.
        channel_arguments: `name=value,name=value`, whole numbers as such; they come after those set here.

    Raises:
        UsageError: a channel argument cannot be read.
    """
    limits = access.limits
    options: dict[str, int | str] = {
        "grpc.max_receive_message_length": limits.message_bytes,
        "grpc.max_send_message_length": limits.message_bytes,
        "grpc.max_metadata_size": limits.header_bytes,
        "grpc.absolute_max_metadata_size": limits.header_bytes,
        # Otherwise two servers share a port, and each gets some of the requests.
        "grpc.so_reuseport": 0,
    }
    for argument in filter(None, channel_arguments.split(",")):
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise UsageError(
                f"channel arguments must be name=value,name=value. Got {argument!r} among them instead",
                hint="e.g. grpc.max_connection_age_ms=2000",
            )
        try:
            options[name] = int(value)
        except ValueError:
            options[name] = value
    return list(options.items())
