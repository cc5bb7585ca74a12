"""What a view leaves to be sent later: an event stream, or an answer that somebody waits for.

In the web process the front (`web.front`) takes it over, so that it costs no thread while nothing happens.
Below any other WSGI server, as in tests, the thread of the request does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from flask import Flask, Response, request
from werkzeug.wrappers.response import Response as AnyResponse

from web.address import WsgiApp
from web.jobs.watch import JobWatch
from web.services import Services

#: In the WSGI environ: where the front finds what was left to it.
LEFT_KEY = "atelier.left"
#: In the WSGI environ: what is answered in place of what the view would answer.
INSTEAD_KEY = "atelier.instead"
#: In the extensions of an app: what answers some of its requests at once, in the event loop. A WSGI app that
#: waits for nothing, and raises `WouldLook` or `WouldWait` for any other request.
AT_ONCE_KEY = "atelier.at_once"
#: Looks at what some keys stand for, and returns what it found, by key.
Look = Callable[[Collection[Any]], Mapping[Any, Any]]


class WouldWait(Exception):
    """A request cannot be answered without waiting for something: a thread is to do it."""


class WouldLook(WouldWait):
    """A request can be answered at once after a look, which one thread takes for all who ask meanwhile.

    `look` is the same for all of them, and is told the keys of all; `key` is this request's. Of what was
    found there `answer` makes the WSGI app that answers it. Where nothing was, it takes the usual way.
    """

    def __init__(
        self,
        look: Look,
        key: Hashable,
        answer: Callable[[Any], WsgiApp],
    ) -> None:
        super().__init__()
        self.look, self.key, self.answer = look, key, answer


class Turn(NamedTuple):
    """What a stream has to say now, and how long it then has nothing to say; None when it has ended."""

    data: bytes
    pause_seconds: float | None
    #: Whether the pause goes on when there is new live progress.
    only_changes: bool = False


class Source(Protocol):
    """A stream about a job."""

    @property
    def job_id(self) -> str:
        """The job that it tells of."""

    def take_turn(self, *, since: float) -> Turn:
        """Return what there is to say; a short call, in any thread, never two at once.

        What was read after `since`, by the clock of `time.monotonic`, need not be read again.
        """


@dataclass
class Wait:
    """An answer that is given when a job is as it is waited for, or when time is up."""

    job_id: str
    #: By the clock of `time.monotonic`.
    deadline: float
    #: Looks whether the waiting is over; a short call, in any thread, never two at once. What was read after
    #: the moment it is given need not be read again.
    is_over: Callable[[float], bool]
    #: Gives the answer, in the context of the request.
    answer: Callable[[], Response]
    only_changes: bool = False
    closers: list[Callable[[], object]] = field(default_factory=list)

    def close(self) -> None:
        """Give back what is held while it lasts."""
        while self.closers:
            self.closers.pop()()


@dataclass
class Left:
    """What the app has left to the front, of one request."""

    source: Source | None = None
    wait: Wait | None = None


class Waiting(Response):
    """Stands for an answer that the front will ask for; it is never sent."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(status=204)
        self.wait = wait


def answer_instead(app: Flask) -> None:
    """Let an app answer what the front asks for, in place of a view."""
    app.before_request(_answer_instead)


def _answer_instead() -> Response | None:
    answer: Callable[[], Response] | None = request.environ.get(INSTEAD_KEY)
    return None if answer is None else answer()


def send_stream(source: Source, services: Services, *, content_type: str) -> Response:
    """Return the response of a stream; who makes it adds headers, and what is to be done at its end."""
    left: Left | None = request.environ.get(LEFT_KEY)
    if left is None:
        return Response(_turns(source, services), content_type=content_type)
    if request.method != "HEAD":
        left.source = source
    return Response(iter(()), content_type=content_type)  # an iterator has no length


def answer_later(wait: Wait, services: Services) -> Response:
    """Return the answer when it is time for it, or what stands for it until then."""
    left: Left | None = request.environ.get(LEFT_KEY)
    if left is not None:
        left.wait = wait
        return Waiting(wait)
    try:
        with JobWatch(services.backend.redis.progress, wait.job_id, stopping=services.stopping) as watch:
            while not wait.is_over(time.monotonic()) and not services.stopping.is_set():
                seconds = wait.deadline - time.monotonic()
                if seconds <= 0:
                    break
                watch.wait(seconds, only_changes=wait.only_changes)
        return wait.answer()
    finally:
        wait.close()


def when_answered(response: Response, act: Callable[[Response], Response]) -> Response:
    """Do something with an answer as soon as it is there; return the answer, or what stands for it."""
    if not isinstance(response, Waiting):
        return act(response)
    answer = response.wait.answer
    response.wait.answer = lambda: act(answer())
    return response


def is_put_off(response: AnyResponse) -> bool:
    """Whether a response only stands for one that will be given later."""
    return isinstance(response, Waiting)


def _turns(source: Source, services: Services) -> Iterator[bytes]:
    with JobWatch(services.backend.redis.progress, source.job_id, stopping=services.stopping) as watch:
        while True:
            turn = source.take_turn(since=time.monotonic())
            if turn.data:
                yield turn.data
            if turn.pause_seconds is None:
                return
            if turn.pause_seconds > 0:
                watch.wait(turn.pause_seconds, only_changes=turn.only_changes)
