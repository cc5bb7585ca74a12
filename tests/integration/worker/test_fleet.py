"""The fleet with real child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 30
FLEET = """
import sys
from worker import fleet
fleet._MERCY_SECONDS = 0
nodes = {name: [sys.executable, "-c", code] for name, code in zip("ab", sys.argv[2:])}
sys.exit(fleet.run_fleet(nodes, final_codes=frozenset({3}), drain_seconds=float(sys.argv[1])))
"""
WAITS = (
    "import os, signal, sys; signal.signal(15, lambda *_: sys.exit(0)); os.write(1, b'up\\n'); signal.pause()"
)
#: Says that it was asked, and goes on.
STAYS = (
    "import os, signal; signal.signal(15, lambda *_: os.write(1, b'asked\\n')); os.write(1, b'up\\n')\n"
    "while True: signal.pause()"
)
#: Both say in one write that they are up; this one ends with the code that the next byte names.
OBEYS = "import os, sys; os.write(1, b'up\\n'); sys.exit(int(os.read(0, 1)))"
#: The fleet hears SIGTERM in the middle of its line about a node that has failed.
SIGNALLED_AS_IT_WRITES = """
import os, signal, sys
write = sys.stdout.write
class Out:
    flush = sys.stdout.flush
    def write(self, text):
        if "node_failed" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return write(text)
sys.stdout = Out()
"""


@contextmanager
def start(*codes: str, drain_seconds: float = 600, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """A fleet of these nodes; one that does not do as a test waits for is killed, and the test fails."""
    fleet = subprocess.Popen(
        [sys.executable, "-c", before + FLEET, str(drain_seconds), *codes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def kill() -> None:
        for node in Path(f"/proc/{fleet.pid}/task/{fleet.pid}/children").read_text().split():
            os.kill(int(node), signal.SIGKILL)
        fleet.kill()

    patience = threading.Timer(_PATIENCE_SECONDS, kill)
    patience.start()
    try:
        with fleet:
            yield fleet
            fleet.wait()
    finally:
        patience.cancel()


def up(fleet: subprocess.Popen[str], *, nodes: int, say: str = "up") -> None:
    """Wait until so many nodes have said it; the fleet's own log lines stand between theirs."""
    while nodes:
        line = fleet.stdout.readline()
        assert line, fleet.stderr.read()
        nodes -= line == f"{say}\n"


def order(fleet: subprocess.Popen[str], code: int) -> None:
    fleet.stdin.write(str(code))
    fleet.stdin.flush()


def test_a_signal_reaches_every_node():
    with start(WAITS, WAITS) as fleet:
        up(fleet, nodes=2)
        fleet.terminate()
        assert fleet.wait() == 0


def test_a_node_that_cannot_work_takes_the_others_with_it():
    with start(WAITS, OBEYS) as fleet:
        up(fleet, nodes=2)
        order(fleet, 3)
        assert fleet.wait() == 3


def test_a_node_that_fails_is_started_again_and_the_other_one_goes_on():
    with start(WAITS, OBEYS) as fleet:
        up(fleet, nodes=2)
        order(fleet, 1)
        up(fleet, nodes=1)  # the other one would say so, too, had it been started again
        fleet.terminate()
        assert fleet.wait() == 15  # the one that obeys knows no SIGTERM
        assert "up\n" not in fleet.stdout.read()


def test_a_drained_node_stays_down_and_the_fleet_ends_with_the_last_one():
    with start(OBEYS, OBEYS) as fleet:
        up(fleet, nodes=2)
        order(fleet, 0)
        order(fleet, 0)
        assert fleet.wait() == 0
        assert "up\n" not in fleet.stdout.read()


def test_a_second_signal_kills_those_that_have_not_ended():
    with start(WAITS, STAYS) as fleet:
        up(fleet, nodes=2)
        fleet.terminate()
        # One says so, and the other has ended before it is asked a second time.
        heard = ""
        while "asked\n" not in heard or "node_ended" not in heard:
            line = fleet.stdout.readline()
            assert line, fleet.stderr.read()
            heard += line
        assert fleet.poll() is None
        fleet.terminate()
        assert fleet.wait() == 0  # it was asked to end, and stays down
        said = fleet.stdout.read() + fleet.stderr.read()
        assert said.count("node_killed") == 1
        assert "it was asked to end a second time" in said


def test_a_node_that_does_not_end_in_time_is_killed():
    with start(STAYS, drain_seconds=0.5) as fleet:
        up(fleet, nodes=1)
        fleet.terminate()
        assert fleet.wait() == 0
        said = fleet.stdout.read() + fleet.stderr.read()
        assert "it has not ended within 0.5 s (ATELIER_DRAIN_SECONDS)" in said


def test_so_is_one_beside_a_node_that_cannot_work_and_its_code_is_told():
    with start(STAYS, OBEYS, drain_seconds=0.5) as fleet:
        up(fleet, nodes=2)
        order(fleet, 3)
        assert fleet.wait() == 3


def test_a_signal_that_comes_while_the_fleet_writes_its_log_ends_it():
    """Whoever is interrupted there holds a lock, which a handler that wrote, too, would wait for."""
    with start(WAITS, OBEYS, before=SIGNALLED_AS_IT_WRITES) as fleet:
        up(fleet, nodes=2)
        order(fleet, 1)
        assert fleet.wait() == 0
        assert "fleet_stopping" in fleet.stdout.read()


def test_a_node_that_waits_for_its_next_start_ends_as_asked():
    with start(WAITS, OBEYS) as fleet:
        up(fleet, nodes=2)
        for number in range(3):  # the next start is ever later: the last one 2 s
            if number:
                up(fleet, nodes=1)
            order(fleet, 1)
            while "node_failed" not in (line := fleet.stdout.readline()):
                assert line, fleet.stderr.read()
        fleet.terminate()
        assert fleet.wait() == 0
