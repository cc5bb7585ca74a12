"""The supervisor: starts processes in order, restarts those that end by themselves, stops all in order.

One thread, no callbacks: `tick` checks every child, and its owner calls it a few times a second. Processes
are started and stopped only in `tick`, `start` and `stop`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from shared.errors import RedisUnavailable
from shared.processes import Child, Ending, decide_restart, describe_code, log_tail
from web.cli.local.guard import Guard
from web.cli.local.logs import shorten
from web.cli.output import StartFailed, UpRefused

_LOOK_SECONDS = 0.05
_RETRY_SECONDS = 5.0
_TAIL_LINES = 8


class Supervisor:
    """The children of this process, by name, in the order in which they were started."""

    def __init__(
        self,
        guard: Guard,
        *,
        say: Callable[[str], None],
        how_again: Callable[[str], str] = lambda _: "",
        read_tail: Callable[[Path | None, int], list[str]] = log_tail,
    ) -> None:
        """Prepare a supervisor.

        Args:
            guard: Stops the children when this process ends.
            say: Hears what happens to them.
            how_again: Says how a child that ended for good may be started.
            read_tail: Returns the last lines of a log.
        """
        self._guard = guard
        self._say = say
        self._how_again = how_again
        self._read_tail = read_tail
        self._children: dict[str, Child] = {}
        self._earlier: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._given_up: dict[str, int] = {}
        self._settled = False
        self._in_haste = False

    @property
    def given_up(self) -> dict[str, int]:
        """The children that will not be restarted, with their exit codes."""
        return dict(self._given_up)

    def start_given_up(self, name: str) -> None:
        """Start a child once more that had ended for good.

        Raises:
            UpRefused: when there is none of this name, or it has not ended so.
        """
        if name not in self._given_up:
            ended = ", ".join(sorted(self._given_up))
            state = (
                "is running, or is started again by itself" if name in self._children else "is unknown here"
            )
            hint = f"; those that have ended are: {ended}" if ended else "; none has ended"
            raise UpRefused(f"{name} {state}{hint}")
        del self._given_up[name]
        self._start_again(self._children[name])

    def settle(self) -> None:
        """Note that the start is over: from now on a required child that ends is restarted, too."""
        self._settled = True

    def hurry(self) -> None:
        """Give the children that are being stopped no more grace; may be called from a signal handler."""
        self._in_haste = True

    def start(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        child.start()
        name = child.program.name
        self._children[name] = child
        if child.pid is not None:
            self._guard.add(child.pid, stage=child.program.stage, grace_seconds=child.program.grace_seconds)

    def tick(self) -> None:
        """Check every child: note those that have ended, restart those that are due.

        Raises:
            StartFailed: when a required child ended before the start was over.
        """
        for name, child in self._children.items():
            pid = child.pid
            code = child.ended()
            if code is not None and pid is not None:
                self._guard.remove(pid)
                self._judge(child, code)
            elif name in self._due and monotonic() >= self._due[name]:
                del self._due[name]
                self._start_again(child)

    def stop(self) -> None:
        """Stop every child, the highest stage first, and wait for each; SIGKILL after its grace."""
        self._due.clear()
        for stage in sorted({child.program.stage for child in self._children.values()}, reverse=True):
            self._stop_stage([c for c in self._children.values() if c.program.stage == stage])
        self._children.clear()

    def tail(self, name: str) -> str:
        """Return the last lines of a child's log, indented; empty when there are none."""
        lines = self._read_tail(self._children[name].program.log, _TAIL_LINES)
        return "".join(f"\n    {shorten(line)}" for line in lines)

    def _start_again(self, child: Child) -> None:
        try:
            self.start(child)
        except (RedisUnavailable, OSError) as error:
            name = child.program.name
            self._due[name] = monotonic() + _RETRY_SECONDS
            self._say(f"{name} cannot be started: {error}; the next try is in {_RETRY_SECONDS:g} s.")

    def _judge(self, child: Child, code: int) -> None:
        name = child.program.name
        ending = Ending(code, child.ran_seconds, self._earlier.get(name, 0))
        decision = decide_restart(ending, final_codes=child.program.final_codes)
        self._earlier[name] = decision.earlier
        what = f"{name} ended with {describe_code(code)}"
        if child.program.required and not self._settled:
            raise StartFailed(f"{what}. The end of {child.program.log}:{self.tail(name)}")
        if decision.delay_seconds is None:
            self._given_up[name] = code
            # With 0 it ended on request, and its log explains nothing.
            why = f" It said:{self.tail(name)}" if code else ""
            self._say(f"{what}; it is not started again by itself.{self._how_again(name)}{why}")
            return
        self._due[name] = monotonic() + decision.delay_seconds
        self._say(
            f"{what}; it is started again in {decision.delay_seconds:g} s. "
            f"The end of {child.program.log}:{self.tail(name)}"
        )

    def _stop_stage(self, children: list[Child]) -> None:
        started = monotonic()
        pids = {child.program.name: child.pid for child in children}
        for child in children:
            child.send(signal.SIGTERM)
        waiting = [child for child in children if child.pid is not None]
        killed: set[str] = set()
        while waiting:
            for child in list(waiting):
                name = child.program.name
                if child.ended() is not None:
                    waiting.remove(child)
                    self._guard.remove(pids[name] or 0)
                elif name not in killed and (
                    self._in_haste or monotonic() - started > child.program.grace_seconds
                ):
                    killed.add(name)
                    self._say(f"{name} did not stop in time and is killed.")
                    child.send(signal.SIGKILL)
            if waiting:
                sleep(_LOOK_SECONDS)
