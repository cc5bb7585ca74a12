"""The fleet: one node for each GPU of this machine, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from time import monotonic, sleep
from types import FrameType

from shared.logs import get_logger
from shared.processes import Ending, decide_restart, describe_code

_log = get_logger(__name__)
_LOOK_SECONDS = 0.1


def run_fleet(commands: Mapping[str, Sequence[str]], *, final_codes: frozenset[int]) -> int:
    """Start one process for each name, wait until all have ended; return the worst of their last codes.

    One that ends with 0 was asked to, and stays down. One that fails is started again after a while, and the
    others go on with their jobs. With one of the `final_codes` it says that starting it again would change
    nothing, and takes the others down with it, so that whoever supervises this process sees it. SIGTERM and
    SIGINT are passed on.
    """
    fleet = _Fleet({name: _Berth(name, command) for name, command in commands.items()}, final_codes)
    previous = {number: signal.signal(number, fleet.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while fleet.tick():
            sleep(_LOOK_SECONDS)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    _log.info("fleet_ended", exit_codes=fleet.codes)
    return max(abs(code) for code in fleet.codes.values())


class _Berth:
    """One node's place: its command, its process while there is one, and when the next one is due."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.due: float | None = monotonic()
        self.earlier = 0
        self._command = command
        self._started = 0.0

    def start(self) -> None:
        """Start the node in a session of its own: Ctrl-C reaches this process alone, which passes it on."""
        self.due, self._started = None, monotonic()
        self.process = subprocess.Popen(self._command, start_new_session=True)  # noqa: S603 - our own command

    def ended(self) -> Ending | None:
        """Return how the node has ended, once it has, and after its pool is gone as well."""
        code = self.process.poll() if self.process else None
        if self.process is None or code is None:
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the child of a killed node still has the GPU
        self.process = None
        return Ending(code, monotonic() - self._started, self.earlier)


class _Fleet:
    """All berths; `codes` has the last exit code of each node that has ended."""

    def __init__(self, berths: Mapping[str, _Berth], final_codes: frozenset[int]) -> None:
        self.codes: dict[str, int] = {}
        self._berths = berths
        self._final_codes = final_codes
        self._stopping = False
        self._unasked = list(berths.values())

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Ask every node to end; a signal handler."""
        _log.info("fleet_stopping", signal=signal.Signals(number).name)
        self._stopping = True

    def tick(self) -> bool:
        """Start what is due, note what has ended; return whether there is anything left to look after."""
        for berth in self._berths.values():
            ending = berth.ended()
            if ending is not None:
                self._judge(berth, ending)
            if berth.due is not None and monotonic() >= berth.due and not self._stopping:
                berth.start()
        if self._stopping:
            self._terminate()
        return any(berth.process or berth.due for berth in self._berths.values())

    def _judge(self, berth: _Berth, ending: Ending) -> None:
        self.codes[berth.name] = ending.code
        if ending.code == 0 or self._stopping:
            _log.info("node_ended", node=berth.name, exit_code=ending.code)
            return
        decision = decide_restart(ending, final_codes=self._final_codes)
        berth.earlier = decision.earlier
        how = describe_code(ending.code)
        if decision.delay_seconds is None:
            _log.error("node_gave_up", node=berth.name, how=how)
            self._stopping = True
        else:
            berth.due = monotonic() + decision.delay_seconds
            _log.error("node_failed", node=berth.name, how=how, again_in_seconds=decision.delay_seconds)

    def _terminate(self) -> None:
        """Ask each node once: a second SIGTERM could hit it while it is already leaving."""
        while self._unasked:
            berth = self._unasked.pop()
            berth.due = None
            if berth.process is not None and berth.process.poll() is None:
                berth.process.terminate()
