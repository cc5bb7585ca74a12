"""A child that is forked anew holds nothing open that its parent has to close."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.support.node import start_node

pytestmark = pytest.mark.process

_PROGRAM = """
import os, stat, sys
from worker.child import close_inherited_sockets
close_inherited_sockets()
for number in map(int, sys.argv[1:]):
    mode = os.fstat(number).st_mode
    print("socket" if stat.S_ISSOCK(mode) else "pipe" if stat.S_ISFIFO(mode) else "nothing")
"""


def test_connections_go_and_what_a_parent_talks_through_stays():
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        one, other = socket.socketpair()
        reading, writing = os.pipe()
        numbers = [connection.fileno(), server.fileno(), one.fileno(), reading]
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *map(str, numbers)],
            pass_fds=numbers, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.split() == ["nothing", "socket", "socket", "pipe"]
        for each in (connection, one, other):
            each.close()
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are looked up in /proc")
def test_the_child_after_one_that_died_holds_none_of_its_nodes_connections(settings: Settings):
    node = start_node(settings, "node-a")
    try:
        first = _child_when(node, "engine_ready", "Started consuming")
        os.kill(first, signal.SIGKILL)
        second = _child_when(node, "engine_ready")
        assert second != first
        assert _connections(node.pid)
        assert not _connections(node.pid) & _connections(second)
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.communicate()


def _child_when(node: subprocess.Popen[str], *words: str) -> int:
    """Wait until a node has logged all of these words, and return its child's id."""
    assert node.stdout is not None
    missing = set(words)
    for line in node.stdout:
        missing -= {word for word in missing if word in line}
        if not missing:
            break
    return next(pid for pid in _processes() if pid != node.pid and os.getsid(pid) == node.pid)


def _processes() -> list[int]:
    return sorted((int(folder.name) for folder in Path("/proc").glob("[0-9]*")), reverse=True)


def _connections(pid: int) -> set[str]:
    """Return the TCP connections of a process by their numbers in the kernel."""
    table = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    known = {line.split()[9] for line in table}
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))} & known
