"""Things that are done in another thread, one after the other, and what came of each."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")


class Call(Generic[_Result]):
    """One thing that is done in another thread, with the caller's context, and what came of it."""

    def __init__(self, act: Callable[[], _Result]) -> None:
        self._act: Callable[[], _Result] | None = act
        self._context = copy_context()
        self._results: list[_Result] = []
        self._error: BaseException | None = None
        self.done = Event()

    def run(self) -> None:
        """Do it."""
        act, self._act = self._act, None  # what it holds on to is let go of with it
        try:
            if act is not None:
                self._results.append(self._context.run(act))
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            self._error = error
        del act
        self.done.set()

    @property
    def error(self) -> BaseException | None:
        """What it failed with, once it is done; None when it did not."""
        return self._error

    def result(self) -> _Result:
        """Return what came of it once it is done, or raise that."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    def wait(self) -> _Result:
        """Wait until it is done, however long that takes, and return what came of it or raise that."""
        self.done.wait()
        return self.result()


class Aside:
    """A thread that does one thing after the other, begun with the first; it ends with whoever holds this."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._beginning = Lock()

    def do(self, act: Callable[[], _Result]) -> Call[_Result]:
        """Begin to do something once all before it is done; any thread may ask."""
        with self._beginning:
            if self._thread is None:
                self._thread = Thread(target=_work, args=(self._calls,), name=self._name, daemon=True)
                self._thread.start()
        call = Call(act)
        self._calls.put(call)
        return call

    def close(self) -> None:
        """Wait until all is done, and the thread is gone; nothing can be done after that."""
        self._calls.put(None)
        if self._thread is not None:
            self._thread.join()

    def __del__(self) -> None:
        self._calls.put(None)


def _work(calls: SimpleQueue[Call[Any] | None]) -> None:
    while (call := calls.get()) is not None:
        call.run()
        del call  # or its result would stay until the next one comes
