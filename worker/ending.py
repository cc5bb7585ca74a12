"""How a node ends: whether it was asked to, and the exit code that says so to whoever restarts it."""

from __future__ import annotations

import os
import signal
from time import monotonic, sleep
from types import FrameType

from worker.node_state import NodeState

#: Whatever ended the node may not do so again.
FAILED = 1
#: Another node has the name.
NAME_TAKEN = 4
_SIGNALLED = 128
_PAUSE_SECONDS = 0.05
_ASKING = (signal.SIGTERM, signal.SIGINT)
#: They would end Celery without a checkpoint, or start the program anew in its midst.
_HANGING_UP = (signal.SIGHUP, signal.SIGQUIT)


class Ending:
    """Why one node ends. What is said first holds: a node that was asked to end does not fail after that."""

    def __init__(self, node_state: NodeState) -> None:
        self._node_state = node_state
        self._code: int | None = None
        self._is_asked = False
        self._pid = os.getpid()
        self._ignored: set[signal.Signals] = set()

    @property
    def code(self) -> int:
        """The exit code: 0 if the node was asked to end, and a failure as long as nobody has said why."""
        return FAILED if self._code is None else self._code

    @property
    def is_asked(self) -> bool:
        """Whether the node is to end."""
        return self._is_asked

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the node is to end."""
        deadline = monotonic() + seconds
        while not self._is_asked and monotonic() < deadline:
            sleep(_PAUSE_SECONDS)

    def ask(self) -> None:
        """Note that the node was asked to end."""
        self.fix(0)

    def fix(self, code: int) -> None:
        """Note with which code the node ends, unless that is known already."""
        if self._code is None:
            self._code = code
        self._is_asked = True

    def listen(self) -> None:
        """Note SIGTERM and its like, until Celery has its own handlers; what is ignored (nohup) stays so."""
        for number in (*_ASKING, *_HANGING_UP):
            if signal.getsignal(number) is signal.SIG_IGN:
                self._ignored.add(number)
            else:
                signal.signal(number, self._on_signal)

    def begin(self) -> bool:
        """Take back what Celery's handlers would do wrong; return whether a signal came before they did.

        Its handlers of SIGINT, SIGQUIT and SIGHUP save no checkpoint, or wait for the whole job.
        """
        for number in (signal.SIGINT, *_HANGING_UP):
            signal.signal(number, signal.SIG_IGN if number in self._ignored else self._pass_on)
        return self.is_asked

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._note(number)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        """Do as with SIGTERM, which Celery handles well; in a child, nothing."""
        if os.getpid() == self._pid:
            self._note(number)
            os.kill(self._pid, signal.SIGTERM)

    def _note(self, number: int) -> None:
        self.fix(_SIGNALLED + number if number in _HANGING_UP else 0)
        self._node_state.drain()
