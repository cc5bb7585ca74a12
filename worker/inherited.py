"""What a child inherits from its node's parent, and has to let go of: the connections to Redis.

A child that is forked in place of one that died holds copies of them. When Redis restarts and the parent
closes its own, epoll goes on reporting a connection that others hold open (see "epoll(7)", questions and
answers): the parent would spin, and take a whole processor core for as long as that child lives.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_OPEN_FILES = Path("/dev/fd")


def let_go_of_connections() -> None:
    """Put nothing in the place of every connection that this process has open to another one.

    To be called before it opens any of its own. The numbers stay taken: objects of the parent that are
    forgotten later close them once more, and must not hit what has been opened since.
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
