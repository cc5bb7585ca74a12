"""TCP ports: whether one is free, and a free one."""

from __future__ import annotations

import errno
import os
import socket

from web.cli.errors import UpRefused


def require_free_port(host: str, port: int) -> None:
    """Prove that a server could listen there.

    Raises:
        UpRefused: when the port is taken, or the address is not one to listen on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UpRefused(
                f"port {port} on {host} is taken by another program: stop it, or choose another with --port"
            ) from None
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UpRefused(f"cannot listen on {host}, port {port}: {reason}") from None


def free_port() -> int:
    """Return a port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
