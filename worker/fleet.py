"""The fleet: the nodes on the GPUs of this machine, each a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from threading import Event, Thread
from time import monotonic, sleep
from types import FrameType

from shared.logs import get_logger
from shared.processes import ChildProcess, Ending, Program, decide_restart, describe_code
from worker.ending import decide_haste

_LOOK_SECONDS = 0.1
#: A node looks for its fleet so often.
_FLEET_SECONDS = 0.5
#: Each node keeps the deadline itself; one that does not even manage that is killed so much later.
_MERCY_SECONDS = 5.0

_log = get_logger(__name__)


def run_fleet(
    commands: Mapping[str, Sequence[str]], *, final_codes: frozenset[int], drain_seconds: float
) -> int:
    """Start one process for each name, wait until all have ended; return the worst of their last codes.

    One that ends with 0 was asked to, and stays down. One that fails is started again after a while, and the
    others go on with their jobs. With one of the `final_codes` it says that starting it again would change
    nothing, and takes the others down with it, so that whoever supervises this process sees it.

    SIGTERM and SIGINT are passed on. The nodes have `drain_seconds` to end after that; a second signal kills
    those that are left at once, and so it is with 0 that they end: they were asked to.
    """
    fleet = _Fleet(
        [Program(name, words, final_codes=final_codes) for name, words in commands.items()], drain_seconds
    )
    previous = {number: signal.signal(number, fleet.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while fleet.tick():
            sleep(_LOOK_SECONDS)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    _log.info("fleet_ended", exit_codes=fleet.codes)
    return max((abs(code) for code in fleet.codes.values()), default=0)


def end_without_fleet(fleet_pid: int) -> None:
    """Have this process end as by SIGTERM once it is no longer the child of the fleet's.

    A thread looks: while Redis is away a node's own loop stands still, and it may not come back.
    """

    def watch() -> None:
        pause = Event()
        while os.getppid() == fleet_pid:
            pause.wait(_FLEET_SECONDS)
        _log.info("fleet_gone", fleet_pid=fleet_pid)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="fleet", daemon=True).start()


class _NodeProcess(ChildProcess):
    """One node.

    `due` is when it is to be started next, `earlier` how often in a row it has failed; `is_killed`: by us.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.due: float | None = monotonic()
        self.earlier = 0
        self.is_killed = False


class _Fleet:
    """All nodes; `codes` has the last exit code of each one that has ended."""

    def __init__(self, programs: Sequence[Program], drain_seconds: float) -> None:
        self.codes: dict[str, int] = {}
        self._nodes = [_NodeProcess(program) for program in programs]
        self._drain_seconds = drain_seconds
        self._signals: list[signal.Signals] = []
        self._signals_told = 0
        self._stopping_since: float | None = None
        self._unasked = list(self._nodes)

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Ask every node to end, or end it if it was asked before; a signal handler.

        It says nothing: whom it interrupts may hold the lock of the log.
        """
        self._signals.append(signal.Signals(number))

    def tick(self) -> bool:
        """Start what is due, note what has ended; return whether there is anything left to look after."""
        self._hear()
        for node in self._nodes:
            code = node.ended()
            if code is not None:
                self._judge(node, code)
            if node.due is not None and monotonic() >= node.due and self._stopping_since is None:
                node.due = None
                node.start()
        if self._stopping_since is not None:
            self._terminate()
            self._hasten(monotonic() - self._stopping_since)
        return any(node.pid is not None or node.due is not None for node in self._nodes)

    def _hear(self) -> None:
        for times, number in enumerate(self._signals[self._signals_told :], self._signals_told + 1):
            _log.info("fleet_stopping", signal=number.name, times=times)
            self._signals_told = times
            self._begin_to_stop()

    def _judge(self, node: _NodeProcess, code: int) -> None:
        name = node.program.name
        self.codes[name] = 0 if node.is_killed else code
        if code == 0 or self._stopping_since is not None:
            _log.info("node_ended", node=name, exit_code=code)
            return
        ending = Ending(code, node.ran_seconds, node.earlier)
        decision = decide_restart(ending, final_codes=node.program.final_codes)
        node.earlier = decision.earlier
        how = describe_code(code)
        if decision.delay_seconds is None:
            _log.error("node_gave_up", node=name, how=how)
            self._begin_to_stop()
        else:
            node.due = monotonic() + decision.delay_seconds
            _log.error("node_failed", node=name, how=how, again_in_seconds=decision.delay_seconds)

    def _begin_to_stop(self) -> None:
        if self._stopping_since is None:
            self._stopping_since = monotonic()

    def _hasten(self, stopping_seconds: float) -> None:
        """Kill the nodes that are left, each with its child, once their time is over."""
        why = decide_haste(
            is_hurried=self._signals_told > 1,
            draining_seconds=stopping_seconds - _MERCY_SECONDS,
            drain_seconds=self._drain_seconds,
        )
        for node in self._nodes:
            if why is not None and node.pid is not None and not node.is_killed:
                node.is_killed = True
                _log.error("node_killed", node=node.program.name, reason=why)
                node.send(signal.SIGKILL)

    def _terminate(self) -> None:
        """Ask each node once: a second SIGTERM could hit it while it is already leaving."""
        while self._unasked:
            node = self._unasked.pop()
            if node.due is not None and self._signals_told:
                self.codes[node.program.name] = 0  # it waited for its next start, and now is asked to end
            node.due = None
            node.send(signal.SIGTERM)
