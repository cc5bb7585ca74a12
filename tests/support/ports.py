"""Ports for servers that tests start."""

from __future__ import annotations

import os
import random
import socket
from collections import deque

_FIRST, _PER_WORKER = 20_000, 400
#: Those given lately: a server whose port was asked for first may be started last.
_given: deque[int] = deque(maxlen=_PER_WORKER // 2)


def free_port() -> int:
    """Return a port on loopback that is free, and stays so while its server is started again.

    It lies below the ports that systems give to outgoing connections (from 32768 on), which any process may
    get at any time; and each worker of pytest-xdist (gw0, gw1 ...) takes from a range of its own.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _FIRST + number % 30 * _PER_WORKER
    for port in random.sample(range(first, first + _PER_WORKER), _PER_WORKER):
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.append(port)
        return port
    raise AssertionError(f"none of the ports from {first} on is free")
