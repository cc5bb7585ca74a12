"""The fleet: one node for each GPU of this machine, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

from shared.logs import get_logger

_log = get_logger(__name__)


def run_fleet(commands: Mapping[str, Sequence[str]]) -> int:
    """Start one process for each name, pass SIGTERM and SIGINT on, wait for all; return the worst exit code.

    One that ends by itself takes the others down with it, so that whoever supervises this process sees it.
    """
    nodes = {
        # A session of its own: Ctrl-C reaches this process alone, which passes it on as SIGTERM.
        name: subprocess.Popen(command, start_new_session=True)  # noqa: S603 - given by our own command line
        for name, command in commands.items()
    }

    asked = list(nodes.values())

    def stop(number: int, _frame: FrameType | None) -> None:
        _log.info("fleet_stopping", signal=signal.Signals(number).name)
        _terminate(asked)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        _terminate(asked)
        codes = {name: node.wait() for name, node in nodes.items()}
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    _log.info("fleet_ended", exit_codes=codes)
    return max(abs(code) for code in codes.values())


def _terminate(nodes: list[subprocess.Popen[bytes]]) -> None:
    """Ask each node once: a second SIGTERM could hit it while it is already leaving."""
    while nodes:
        node = nodes.pop()
        if node.poll() is None:
            node.terminate()
