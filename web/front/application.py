"""The ASGI application: a request taken in, answered by the app in a thread, and its answer sent.

Threads are lent for short calls only. What takes long is a task: a body that is being sent, an answer that is
being read, a stream or a wait in which nothing happens. What takes some microseconds, and waits for nobody,
is done in the event loop: to have a thread do it costs more. Where many wait for the same, one thread does it
for all.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn, TypeVar

from flask import Flask, Response

from web.address import WsgiApp, below, parse_address
from web.assets.uploads import max_body_bytes
from web.front.body import Bodies, Body, Receive, waste
from web.front.wsgi import Answer, Errand, Scope, environ_of, find_fault, split_target
from web.jobs.watch import POLL_SECONDS, POLL_WITHOUT_REDIS_SECONDS, JobWatchers
from web.later import AT_ONCE_KEY, INSTEAD_KEY, LEFT_KEY, Left, Look, Source, Wait, WouldLook, WouldWait
from web.services import services_of

_T = TypeVar("_T")
Send = Callable[[dict[str, Any]], Awaitable[None]]
#: In the scope: tells the connection to end with this answer.
CLOSE_KEY = "atelier.close"
#: Where two pictures may be sent; anywhere else the app's own limit holds.
_UPLOADS = frozenset({"/api/v1/jobs", "/api/v1/assets", "/new"})
#: How many streams and waits look at their jobs at once: they may all have to, and others are to be answered.
_LOOKS = 3
#: And how often all together look for what they were not told of.
_LOOKS_PER_SECOND = 200
#: What may be answered at once.
_READING = frozenset({"GET", "HEAD"})
#: How many of the largest bodies may lie on the disk at once.
_BODIES = 20


class Front:
    """The app for an ASGI server; `threads` is how many requests are worked on at once."""

    def __init__(self, app: Flask, *, threads: int) -> None:
        self.app = app
        self._at_once: WsgiApp | None = app.extensions.get(AT_ONCE_KEY)
        services = services_of(app)
        self.stopping = services.stopping
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._watchers = JobWatchers(services.backend.redis.progress, stopping=services.stopping)
        self._root = parse_address(services.backend.settings.public_url).root
        self._upload_bytes = max_body_bytes(services.backend.settings.picture_limits())
        self.bodies = Bodies(_BODIES * self._upload_bytes)
        self._bells: set[_Bell] = set()
        self._spread = services.spread
        self._looking = asyncio.Semaphore(_LOOKS)
        self._joint_looks = _JointLooks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()

    def stop(self) -> None:
        """Let streams and waits end; called in the event loop."""
        self.stopping.set()
        for bell in self._bells:
            bell.ring(is_change=True)

    def close(self) -> None:
        """Let the threads go when they have done what they do; nothing is heard of jobs any more."""
        self._pool.shutdown(wait=False)
        self._watchers.close()

    def tell_methods(self) -> Response:
        """Return the answer to ``OPTIONS *``: what is taken at some address or other."""
        response = Response(status=204)
        response.allow.update(
            method for rule in self.app.url_map.iter_rules() for method in rule.methods or ()
        )
        return response

    def errand(self) -> Errand:
        """Return the threads, for one request."""
        return Errand(self._pool)

    async def answer_at_once(self, scope: Scope, errand: Errand) -> Answer | None:
        """Return the answer to a request without a body, if that needs no thread of its own; else None."""
        if self._at_once is None or scope["method"] not in _READING:
            return None
        environ = environ_of(scope, io.BytesIO(), size=None)
        try:
            return errand.run_here(Answer, self._at_once, environ)
        except WouldLook as error:
            asked = error
        except WouldWait:
            return None
        found = await self._joint_looks.take(asked.look, asked.key, errand)
        return None if found is None else errand.run_here(Answer, asked.answer(found), environ)

    def limit(self, scope: Scope) -> int:
        """Return how many bytes a request's body may have."""
        path = below(split_target(scope)[1], self._root).rstrip("/")
        if scope["method"] == "POST" and path in _UPLOADS:
            return self._upload_bytes
        return int(self.app.config["MAX_CONTENT_LENGTH"])

    def poll_seconds(self) -> float:
        """Return how long a stream or a wait goes without a look at its job when nothing rings."""
        usual = POLL_SECONDS if self._watchers.hears else POLL_WITHOUT_REDIS_SECONDS
        return max(usual, len(self._bells) / _LOOKS_PER_SECOND)

    async def look(self, errand: Errand, bell: _Bell, call: Callable[[float], _T]) -> _T:
        """Return what a look at a job returns, which may rest on what was read since this was called."""
        since = bell.reset()
        async with self._looking:
            return await errand.run(call, since)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[_Bell]:
        """Have a bell rung when a job changes, during the block."""
        loop = asyncio.get_running_loop()
        bell = _Bell(self.poll_seconds, phase=self._spread.next())

        def wake(is_change: bool) -> None:
            with suppress(RuntimeError):  # the loop may have ended by now
                loop.call_soon_threadsafe(lambda: bell.ring(is_change=is_change))

        self._bells.add(bell)
        try:
            with self._watchers.watch(job_id, wake):
                yield bell
        finally:
            self._bells.discard(bell)


class _Asked(NamedTuple):
    """What a look is to find for a request, whose errand may be run for it; and where to put it."""

    key: Hashable
    errand: Errand
    found: asyncio.Future[Any]


class _JointLooks:
    """Looks that one thread takes for all who ask at once: whoever asks during one is in the next."""

    def __init__(self) -> None:
        self._asked: list[_Asked] = []
        self._looking: asyncio.Task[None] | None = None

    async def take(self, look: Look, key: Hashable, errand: Errand) -> Any:  # noqa: ANN401 - what is found
        """Return what a look that began after this call has found of a key; None when it is left out.

        All who ask have the same `look`.
        """
        asked = _Asked(key, errand, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if self._looking is None:
            # A task of its own: whoever came first may go while the others wait.
            self._looking = asyncio.create_task(self._look(look))
        return await asked.found

    async def _look(self, look: Look) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                try:
                    seen = await asked[0].errand.run(look, {one.key for one in asked})
                except Exception:  # noqa: BLE001 - each asks by itself then, and is told
                    seen = {}
                for one in asked:
                    if not one.found.done():
                        one.found.set_result(seen.get(one.key))
        finally:
            self._looking = None


class _Bell:
    """Rung for a stream or a wait when its job may have changed."""

    def __init__(self, poll_seconds: Callable[[], float], *, phase: float) -> None:
        self._poll_seconds = poll_seconds
        self._phase = phase
        self._any, self._change = asyncio.Event(), asyncio.Event()

    def ring(self, *, is_change: bool) -> None:
        """Ring; `is_change` says whether the row has changed, and not the live progress only."""
        self._any.set()
        if is_change:
            self._change.set()

    def reset(self) -> float:
        """Hear only what rings from now on, and return when that is; then the job is looked at."""
        self._any.clear()
        self._change.clear()
        return time.monotonic()

    async def wait(self, seconds: float, *, only_changes: bool) -> None:
        """Return when it rings, at the latest after `seconds`, and sooner where a ring may have been lost."""
        most = seconds_to_poll(time.monotonic(), every=self._poll_seconds(), phase=self._phase)
        event = self._change if only_changes else self._any
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), max(0.0, min(seconds, most)))


def seconds_to_poll(now: float, *, every: float, phase: float) -> float:
    """Return how long until a stream looks again: at moments of its own, `phase` of the way between two.

    However many one change has woken, they look at different times from then on. It is half to one and a
    half times `every`.
    """
    seconds = every - (now - phase * every) % every
    return seconds if seconds >= every / 2 else seconds + every


class _Exchange:
    """One request and its answer."""

    def __init__(self, front: Front, scope: Scope, receive: Receive, send: Send) -> None:
        self._front = front
        self._scope = scope
        self._receive = receive
        self._send = send
        self._errand = front.errand()
        self._body: Body | None = None

    async def run(self) -> None:
        """Take the request in, have it answered, and send the answer."""
        length, fault = _length(self._scope), find_fault(self._scope)
        limit = self._front.limit(self._scope)
        is_too_long = length is not None and length > limit
        if fault is None and not _has_body(self._scope):
            answer = await self._front.answer_at_once(self._scope, self._errand)
            if answer is not None:
                await self._send_answer(answer)
                return
            self._body = Body(io.BytesIO(), is_whole=True)
        elif not is_too_long and fault is None:
            self._body = await self._front.bodies.take(self._receive, limit=limit, run=self._errand.run)
        try:
            await self._answer(length if is_too_long else None, fault)
        finally:
            if self._body is not None:
                body = self._body
                self._errand.finish(lambda: self._front.bodies.give_back(body))

    async def _answer(self, too_long: int | None, fault: Exception | None) -> None:
        body, is_whole = self._body, self._body is not None and self._body.is_whole
        size = too_long if body is None else body.size or None
        environ = environ_of(self._scope, io.BytesIO() if body is None else body.file, size=size)
        fault = fault if body is None else body.fault
        if fault is not None:
            environ["CONTENT_LENGTH"] = "0"
            environ[INSTEAD_KEY] = _raiser(fault)
        elif self._scope["raw_path"] == b"*":
            environ[INSTEAD_KEY] = self._front.tell_methods
        if not is_whole and CLOSE_KEY in self._scope:
            self._scope[CLOSE_KEY]()
        first = await self._errand.run(Answer, self._front.app.wsgi_app, environ)
        wait = first.left.wait
        answer = first if wait is None else await self._wait(first, wait, environ)
        if answer is not None:
            await self._send_answer(answer)
        if not is_whole:
            await waste(self._receive)

    async def _wait(self, first: Answer, wait: Wait, environ: dict[str, Any]) -> Answer | None:
        """Return the answer when it is time for it; None when nobody is there any more."""
        try:
            if first.status != 204:
                return first  # it came to something else
            first.close()
            instead = await self._unless_gone(self._until_over(wait))
            if instead is None:
                return None
            return await self._errand.run(
                Answer, self._front.app.wsgi_app, {**environ, INSTEAD_KEY: instead, LEFT_KEY: Left()}
            )
        finally:
            self._errand.finish(wait.close)

    async def _until_over(self, wait: Wait) -> Callable[[], Response]:
        with self._front.watch(wait.job_id) as bell:
            while True:
                try:
                    if await self._front.look(self._errand, bell, wait.is_over):
                        return wait.answer
                except Exception as error:  # noqa: BLE001 - the app answers it
                    return _raiser(error)
                left = wait.deadline - time.monotonic()
                if left <= 0 or self._front.stopping.is_set():
                    return wait.answer
                await bell.wait(left, only_changes=wait.only_changes)

    async def _send_answer(self, answer: Answer) -> None:
        try:
            source = answer.left.source if answer.status == 200 else None
            start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
            await self._send(start)
            if source is not None:
                await self._unless_gone(self._send_stream(source))
                await self._send_piece(b"", more=False)
                return
            data, more = answer.first
            await self._send_piece(data, more=more)
            while more:
                data, more = await self._errand.run(answer.read)
                await self._send_piece(data, more=more)
        finally:
            self._errand.finish(answer.close)

    async def _send_stream(self, source: Source) -> bool:
        with self._front.watch(source.job_id) as bell:
            while True:
                turn = await self._front.look(self._errand, bell, lambda since: source.take_turn(since=since))
                if turn.data:
                    await self._send_piece(turn.data, more=True)
                if turn.pause_seconds is None:
                    return True
                if turn.pause_seconds > 0:
                    await bell.wait(turn.pause_seconds, only_changes=turn.only_changes)

    async def _send_piece(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _unless_gone(self, work: Any) -> Any:  # noqa: ANN401 - what the coroutine returns
        """Return what a coroutine returns; None, and end it, when the client is gone before."""
        working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _length(scope: Scope) -> int | None:
    """Return how long the body is said to be; None when it is not said."""
    found = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(found[0]) if found else None


def _has_body(scope: Scope) -> bool:
    """Whether a body is sent with a request, and be it an empty one."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _raiser(error: Exception) -> Callable[[], Response]:
    def answer() -> NoReturn:
        raise error

    return answer
