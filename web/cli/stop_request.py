"""The wish to stop: Ctrl-C, SIGTERM or a closed terminal, noted in a handler and acted on elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Takes over the signals that end a process, as a context.

    A handler that raised could do so between the start of a child and the moment it is known; so it only
    takes a note, and `check` raises where nothing is half done.
    """

    def __init__(self) -> None:
        self._requested = False
        self._repeated: Callable[[], None] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt when a stop was requested."""
        if self._requested:
            raise KeyboardInterrupt

    def on_repeat(self, action: Callable[[], None]) -> None:
        """Call `action` from the signal handler when a stop is requested from now on."""
        self._repeated = action

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._requested = True
        if self._repeated is not None:
            self._repeated()
