"""How a node ends: whether it was asked to, in which time, and the exit code for whoever restarts it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic, sleep
from types import FrameType
from typing import Any

from shared.clock import to_rfc3339
from shared.redis.workers import WorkerBeat
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

    def __init__(self, node_state: NodeState, *, hears_haste: bool = True) -> None:
        """Prepare for an ending; with `hears_haste` a second signal from outside ends the node sooner."""
        self._node_state = node_state
        self._hears_haste = hears_haste
        self._signals = 0
        self._end_celery: Callable[..., Any] | None = None
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

    @property
    def is_hurried(self) -> bool:
        """Whether somebody has asked a second time, and does not wait for a checkpoint."""
        return self._hears_haste and self._signals > 1

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

        Its handlers of SIGINT, SIGQUIT and SIGHUP save no checkpoint, or wait for the whole job. That of
        SIGTERM is what ends it well, once.
        """
        handler = signal.getsignal(signal.SIGTERM)
        self._end_celery = handler if callable(handler) else None
        signal.signal(signal.SIGTERM, self._pass_on)
        for number in (signal.SIGINT, *_HANGING_UP):
            signal.signal(number, signal.SIG_IGN if number in self._ignored else self._pass_on)
        return self.is_asked

    def end_celery(self) -> None:
        """Let Celery end as after SIGTERM; the node has said why before."""
        if self._end_celery is not None:
            self._end_celery(signal.SIGTERM, None)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._note(number)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        """Do as with SIGTERM, which Celery handles well; in a child, nothing."""
        if os.getpid() == self._pid:
            self._note(number)
            self.end_celery()

    def _note(self, number: int) -> None:
        self._signals += 1
        self.fix(_SIGNALLED + number if number in _HANGING_UP else 0)
        self._node_state.drain()


def decide_haste(*, is_hurried: bool, draining_seconds: float, drain_seconds: float) -> str | None:
    """Return why what drains is ended at once, whatever it still does; None while it has its time.

    `draining_seconds` is how long it has drained, `drain_seconds` how long it may.
    """
    if is_hurried:
        return "it was asked to end a second time"
    if draining_seconds >= drain_seconds:
        return f"it has not ended within {drain_seconds:g} s (ATELIER_DRAIN_SECONDS)"
    return None


def describe_rival(name: str, rival: WorkerBeat, *, host: str, process: str) -> str:
    """Return what is said of another node that has this one's name, and what to do.

    `host` and `process` are of this node, the latter as `shared.processes.this_process` tells it.
    """
    where = f"on {rival.host or 'some host'}"
    boots = [told.partition(" ")[0] for told in (rival.process, process)]
    if all(boots) and boots[0] != boots[1]:
        where = f"on another machine, {rival.host or 'which does not say its name'}"
        if rival.host == host:
            where = f"on another machine that is called {host} as well"
    return (
        f"A worker named '{name}' is running already, {where}, since {to_rfc3339(rival.started_at)}. Names "
        "must be unique: give this one another with --name."
    )
