"""A child process that has no log of its own, as the nodes of a fleet."""

from __future__ import annotations

import subprocess
import sys

from shared.processes import log_tail

_PARENT = """
import sys
from shared.processes import ChildProcess, Program
child = ChildProcess(Program("child", [sys.executable, "-I", "-S", "-c", sys.argv[1]]))
child.start()
while (code := child.ended()) is None:
    pass
sys.exit(code)
"""
_CHILD = "import os, sys; print(os.environ['NAME'], sys.stdin.read()); sys.exit('and the other output')"


def test_without_a_log_it_shares_input_outputs_and_environment():
    done = subprocess.run(
        [sys.executable, "-c", _PARENT, _CHILD],
        input="heard",
        env={"NAME": "said", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "said heard\n", "and the other output\n")


def test_without_a_log_there_is_nothing_to_show():
    assert log_tail(None, 8) == []
