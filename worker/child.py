"""The start of a node's child: what it must not keep of its parent, and when it loads its engine."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_OPEN_FILES = Path("/dev/fd")
_LONGEST_LOAD_DELAY_SECONDS = 60.0


def decide_load_delay_seconds(loads: int) -> float:
    """Return how long to wait before the engine is loaded; `loads` counts this one and those that failed."""
    return 0.0 if loads <= 1 else min(_LONGEST_LOAD_DELAY_SECONDS, 0.5 * 2.0 ** (min(loads, 16) - 2))


def close_inherited_sockets() -> None:
    """Put nothing in the place of every connection that this process has open to another one.

    To be called in a new child, before it opens any of its own. A child that is forked in place of one that
    died holds copies of its parent's connections to Redis. When Redis restarts and the parent closes its own,
    epoll goes on reporting a connection that others hold open (see "epoll(7)", questions and answers): the
    parent would spin, and take a whole processor core for as long as that child lives.

    The numbers stay taken: objects of the parent that are forgotten later close them once more, and must not
    hit what has been opened since.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in [int(file.name) for file in _OPEN_FILES.iterdir()]:
        if _is_connection(number):
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


def _is_connection(number: int) -> bool:
    """Whether an open file is a socket whose peer has an address: those to the parent have none."""
    try:
        copy = os.dup(number)
    except OSError:
        return False  # that of the listing itself, which is closed by now
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return False  # no socket
    with connection:
        try:
            return bool(connection.getpeername())
        except OSError:
            return False  # not connected
