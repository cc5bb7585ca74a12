"""The fleet with real child processes."""

from __future__ import annotations

import subprocess
import sys

FLEET = """
import sys
from worker.fleet import run_fleet
sys.exit(run_fleet({name: [sys.executable, "-c", code] for name, code in zip("ab", sys.argv[1:])}))
"""
WAITS = (
    "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); signal.pause()"
)


def start(*codes: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FLEET, *codes], stdout=subprocess.PIPE, text=True)


def test_a_signal_reaches_every_node():
    with start(WAITS, WAITS) as fleet:
        assert [fleet.stdout.readline(), fleet.stdout.readline()] == ["up\n", "up\n"]
        fleet.terminate()
        assert fleet.wait() == 0


def test_a_node_that_ends_takes_the_others_with_it():
    with start(WAITS, "input(); import sys; sys.exit(3)") as fleet:
        assert fleet.wait() != 0
