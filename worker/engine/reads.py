"""What is read from the device: by one thread alone, and losses while the step after theirs is computed.

A copy from the device waits for what has been enqueued there. In the thread that enqueues the steps it would
leave the device without work each time; and two threads that copied at once have crashed TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from worker.aside import Aside, Call

#: The one thread of a process in which anything comes from the device.
READ_THREAD = "device-reads"

_Result = TypeVar("_Result")
_State = TypeVar("_State")
_Report = TypeVar("_Report")


class DeviceReads:
    """All that is read from one device, in the order in which it was asked for. Safe for many threads."""

    def __init__(self) -> None:
        self._aside = Aside(READ_THREAD)

    def begin(self, read: Callable[[], _Result]) -> Call[_Result]:
        """Begin to read, after all that was asked for before."""
        return self._aside.do(read)

    def get(self, read: Callable[[], _Result]) -> _Result:
        """Read, and wait for it; never to be called by what is read with this."""
        return self._aside.do(read).wait()


def run_steps(
    advance: Callable[[_State, int], _State],
    begin_read: Callable[[_State], Call[_Report]],
    state: _State,
    *,
    first: int,
    last: int,
    reads_behind: bool,
) -> Iterator[tuple[int, _State, _Report]]:
    """Yield number, state and report of each step, once the report is there.

    What goes wrong in a step is raised in its turn: after the step before it was yielded.

    Args:
        advance: Enqueues a step of this number, and returns its state, which no later step changes.
        begin_read: Begins to read the report of a state.
        state: That before the first step.
        first: The number of the first step.
        last: The number of the last one; nothing is yielded if that is lower.
        reads_behind: Enqueue each step before the report of the one before is waited for; whoever leaves
            after a step then throws one more away. Without it a step is begun when it is asked for.
    """
    begun: Callable[[], _State] | None = None
    for number in range(first, last + 1):
        state = advance(state, number) if begun is None else begun()
        reading = begin_read(state)
        begun = _try(advance, state, number + 1) if reads_behind and number < last else None
        yield number, state, reading.wait()


def _try(advance: Callable[[_State, int], _State], state: _State, number: int) -> Callable[[], _State]:
    """Enqueue a step, and return what gives its state or raises what went wrong."""
    try:
        after = advance(state, number)
    except Exception as error:  # noqa: BLE001 - raised when it is this step's turn
        failure = error

        def fail() -> _State:
            raise failure

        return fail
    return lambda: after
