"""The fleet with real child processes."""

from __future__ import annotations

import subprocess
import sys

FLEET = """
import sys
from worker.fleet import run_fleet
nodes = {name: [sys.executable, "-c", code] for name, code in zip("ab", sys.argv[1:])}
sys.exit(run_fleet(nodes, final_codes=frozenset({3})))
"""
WAITS = (
    "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
)
#: Says that it is up, and ends with the code that the next byte names.
OBEYS = "import os, sys; print('up', flush=True); sys.exit(int(os.read(0, 1)))"


def start(*codes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FLEET, *codes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def up(fleet: subprocess.Popen[str], *, nodes: int) -> None:
    """Wait until so many nodes have started; the fleet's own log lines stand between theirs."""
    while nodes:
        line = fleet.stdout.readline()
        assert line, fleet.stderr.read()
        nodes -= line == "up\n"


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
