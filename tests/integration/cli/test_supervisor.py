"""The supervisor with real processes; each holds a connection to the test that closes when it is dead."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from shared.processes import ChildProcess, Program
from web.cli.local.guard import Guard
from web.cli.local.supervisor import Supervisor
from web.cli.output import StartFailed

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 20
_CHILD = """
import os, signal, socket, sys
name, port, diary, mode = sys.argv[1:]
if mode == "ends":
    print("an important last line")
    sys.exit(7)
if mode == "refuses":
    sys.exit(3)
if mode == "drained":
    sys.exit(0)
line = socket.create_connection(("127.0.0.1", int(port)))
os.set_inheritable(line.fileno(), True)
def stop(*_):
    with open(diary, "a") as file:
        file.write(name + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else stop)
if mode == "parent" and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line.sendall(b"child\\n")
    while True:
        signal.pause()
line.sendall(f"{name} {os.getpid()}\\n".encode())
while True:
    signal.pause()
"""


class Nursery:
    """Makes children and hears from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "child.py"
        self.script.write_text(_CHILD)
        self.diary = folder / "diary"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(_PATIENCE_SECONDS)
        self.lines: list[socket.socket] = []

    def words(self, name: str, mode: str) -> list[str]:
        port = str(self.listener.getsockname()[1])
        return [sys.executable, "-I", "-S", str(self.script), name, port, str(self.diary), mode]

    def child(self, name: str, mode: str = "plain", *, stage: int = 1, **more: object) -> ChildProcess:
        program = {"environ": dict(os.environ), "log": self.folder / f"{name}.log", "grace_seconds": 20.0}
        return ChildProcess(Program(name=name, words=self.words(name, mode), stage=stage, **(program | more)))

    def hear(self) -> tuple[str, int, socket.socket]:
        line, _ = self.listener.accept()
        line.settimeout(_PATIENCE_SECONDS)
        self.lines.append(line)
        name, pid = line.makefile().readline().split()
        return name, int(pid), line

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.listener.close()


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path)
    yield nursery
    nursery.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    with Guard() as guard:
        supervisor = Supervisor(guard, say=said.append)
        yield supervisor
        supervisor.hurry()
        supervisor.stop()


def tick_until(supervisor: Supervisor, condition: Callable[[], object]) -> None:
    deadline = monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert monotonic() < deadline
        supervisor.tick()


def is_closed(line: socket.socket) -> bool:
    return line.recv(1) == b""


def test_children_stop_in_order_of_their_stages(supervisor, nursery):
    for name, stage in (("redis", 0), ("web", 1), ("control", 2), ("worker", 3)):
        supervisor.start(nursery.child(name, stage=stage))
    lines = [nursery.hear()[2] for _ in range(4)]
    supervisor.stop()
    assert nursery.diary.read_text().split() == ["worker", "control", "web", "redis"]
    assert all(is_closed(line) for line in lines)


def test_one_that_ignores_sigterm_is_killed_after_its_grace(supervisor, nursery, said):
    child = nursery.child("deaf", "stubborn", grace_seconds=0.1)
    supervisor.start(child)
    line = nursery.hear()[2]
    supervisor.stop()
    assert is_closed(line)
    assert child.pid is None
    assert said == ["deaf did not stop in time and is killed."]


def test_haste_does_not_wait_for_the_grace(supervisor, nursery):
    supervisor.start(nursery.child("deaf", "stubborn", grace_seconds=3600))
    line = nursery.hear()[2]
    supervisor.hurry()
    supervisor.stop()
    assert is_closed(line)


def test_a_killed_child_is_started_again_and_its_own_children_are_gone(supervisor, nursery, said):
    supervisor.start(nursery.child("web", "parent"))
    line, _ = nursery.listener.accept()
    nursery.lines.append(line)
    line.settimeout(_PATIENCE_SECONDS)
    heard = b""
    while heard.count(b"\n") < 2:
        heard += line.recv(100)
    pid = int(heard.split(b"web ")[1].split()[0])
    os.kill(pid, signal.SIGKILL)
    tick_until(supervisor, lambda: len(said) == 1)
    assert is_closed(line)  # its child held the same connection
    assert said[0].startswith("web ended with signal SIGKILL; it is started again in 0.5 s.")
    nursery.listener.settimeout(0)
    again: list[socket.socket] = []

    def connected() -> bool:
        try:
            again.append(nursery.listener.accept()[0])
        except BlockingIOError:
            return False
        return True

    tick_until(supervisor, connected)
    nursery.lines += again


def test_one_that_ends_at_once_is_reported_with_its_last_line(supervisor, nursery, said):
    supervisor.start(nursery.child("worker-1", "ends"))
    tick_until(supervisor, lambda: len(said) == 2)
    assert "worker-1 ended with exit code 7; it is started again in 0.5 s." in said[0]
    assert said[0].endswith("    an important last line")
    assert "it is started again in 1 s." in said[1]


def test_one_with_a_final_code_is_not_started_again(supervisor, nursery, said):
    supervisor.start(nursery.child("worker-1", "refuses", final_codes=frozenset({3})))
    tick_until(supervisor, lambda: supervisor.given_up)
    assert supervisor.given_up == {"worker-1": 3}
    assert "it is not started again" in said[0]


def test_one_that_was_drained_is_not_started_again(supervisor, nursery, said):
    supervisor.start(nursery.child("worker-1", "drained", final_codes=frozenset({0, 3})))
    tick_until(supervisor, lambda: supervisor.given_up)
    assert said == ["worker-1 ended with exit code 0; it is not started again by itself."]


def test_a_required_one_that_ends_during_the_start_ends_the_start(supervisor, nursery):
    supervisor.start(nursery.child("web", "ends", required=True))
    with pytest.raises(StartFailed, match="web ended with exit code 7"):
        tick_until(supervisor, lambda: False)


_SUPERVISING = """
import os, signal, sys
from pathlib import Path
from shared.processes import ChildProcess, Program
from web.cli.local.guard import Guard
from web.cli.local.supervisor import Supervisor
with Guard() as guard:
    supervisor = Supervisor(guard, say=print)
    for stage, name in enumerate(sys.argv[2].split(",")):
        words = [*sys.argv[3:7], name, *sys.argv[7:]]
        log = Path(sys.argv[1]) / name
        supervisor.start(ChildProcess(Program(name, words, dict(os.environ), log, stage, 20.0)))
    signal.pause()
"""


def test_a_killed_supervisor_leaves_nobody_behind(nursery):
    words = nursery.words("NAME", "plain")
    words.remove("NAME")
    with subprocess.Popen(
        [sys.executable, "-c", _SUPERVISING, str(nursery.folder), "redis,web,worker", *words],
        start_new_session=True,
    ) as process:
        lines = [nursery.hear()[2] for _ in range(3)]
        os.killpg(process.pid, signal.SIGKILL)
    assert all(is_closed(line) for line in lines)
    assert nursery.diary.read_text().split() == ["worker", "web", "redis"]
