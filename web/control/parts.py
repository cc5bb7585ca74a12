"""The parts of control's round: each runs alone, and one that fails is tried again ever later."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from shared.errors import AtelierError, ServiceError
from shared.logs import get_logger

_log = get_logger(__name__)
#: A service that does not answer is asked again after a second.
_RETRY_SECONDS = 1.0
#: An error that nobody thought of is met again after 1, 2, 4 … s: it fills the log, and may cost much.
_LONGEST_PAUSE_SECONDS = 30.0


class Part:
    """One part: what it does, how often, and what went wrong when it ran last."""

    def __init__(
        self,
        name: str,
        act: Callable[[], object],
        *,
        every_seconds: float = 0,
        due_at: float = 0,
        rests_on: Callable[[], Hashable | None] | None = None,
    ) -> None:
        """Prepare a part.

        Args:
            name: What it is called.
            act: What it does; returns something true if it had anything to do.
            every_seconds: How long it is not run again.
            due_at: When it is run first.
            rests_on: Tells what it looks at, in some microseconds. Where that is what it was when there was
                nothing to do, it is not looked at again. None says nothing.
        """
        self.name = name
        #: A sentence for the operator; None when the last run went well.
        self.fault: str | None = None
        #: Whether the last run failed because a service did.
        self.failed_for_service = False
        self._act = act
        self._every_seconds = every_seconds
        self._due_at = due_at
        self._failures = 0
        self._rests_on = rests_on
        #: What it rested on when there was nothing to do.
        self._idle_on: Hashable | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is to run at this moment of a monotonic clock, in seconds."""
        return now >= self._due_at

    def hold(self, until: float) -> None:
        """Let it not run before a moment."""
        self._due_at = max(self._due_at, until)

    def run(self, clock_seconds: Callable[[], float]) -> None:
        """Run it; whatever it raises is logged and noted."""
        self._due_at = clock_seconds() + self._every_seconds
        self.failed_for_service = False
        try:
            # Before it looks: what changes meanwhile is looked at next time.
            seen = None if self._rests_on is None else self._rests_on()
            if seen is None or seen != self._idle_on:
                self._idle_on = None
                self._idle_on = None if self._act() else seen
        except ServiceError as error:
            _log.error("service_unavailable", part=self.name, code=error.code, detail=error.detail)
            self._fail(error.title(), clock_seconds() + _RETRY_SECONDS)
            self.failed_for_service = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts go on
            self._failures += 1
            pause = min(2.0 ** (self._failures - 1), _LONGEST_PAUSE_SECONDS)
            _log.exception("part_failed", part=self.name, failures=self._failures, again_in_seconds=pause)
            title = error.title() if isinstance(error, AtelierError) else type(error).__name__
            self._fail(f"{title}; its log says more", clock_seconds() + pause)
        else:
            self.fault, self._failures = None, 0

    def _fail(self, fault: str, again_at: float) -> None:
        self.fault = fault
        self._due_at = max(self._due_at, again_at)


def run_parts(
    parts: Sequence[Part], *, clock_seconds: Callable[[], float], begin: Callable[[Part], None]
) -> Iterator[Part]:
    """Run those parts that are due, in their order, and yield each after its run; `begin` is told before."""
    for part in parts:
        if part.is_due(clock_seconds()):
            begin(part)
            part.run(clock_seconds)
            yield part
