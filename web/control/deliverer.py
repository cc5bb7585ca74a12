"""The deliverer: sends the messages of webhooks, beside control's rounds, each on its own.

A thread with an event loop: a receiver that is slow holds up no other, since each has a few messages on their
way at most, and the rounds wait for none of them. A message is written as sent after its answer has come; one
whose answer was lost is sent again, with the same id and the same body.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event as ThreadEvent
from threading import Thread
from time import monotonic

from sqlalchemy import select

from shared.errors import AtelierError, DatabaseUnavailable
from shared.logs import get_logger
from shared.status import JobStatus
from web.address import parse_address, use_root
from web.api.job_view import JobView, read_views, show_job
from web.backend import Backend
from web.db.marks import Mark
from web.db.models import Job
from web.db.webhook_models import WebhookRow
from web.webhooks.addresses import WebhookRules
from web.webhooks.message import Answer, NextStep, State, decide_next, headers_of, make_body
from web.webhooks.outbox import (
    DueMessage,
    Event,
    add_delivery,
    find_due,
    keep_body,
    next_moment,
    note_attempt,
    remove_old,
    restore_snapshot,
    webhooks_of,
)
from web.webhooks.sender import Sender
from web.webhooks.subscriptions import signing_secrets

_log = get_logger(__name__)
#: Messages on their way at once, to one receiver and in all.
_MOST_EACH, _MOST = 4, 200
_LOOK_SECONDS = 0.1
#: Of a database that does not tell whether anything was written.
_BLIND_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
PROGRESS_SECONDS = 5.0
_PRUNE_SECONDS = 60.0
_PRUNED_AT_ONCE = 500
#: What is on its way when control ends is waited for so long; then it is sent again after the next start.
_FAREWELL_SECONDS = 5.0


class Deliverer:
    """Sends what is due, from `start` to `stop`; `fault` says what went wrong when it looked last."""

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Callable[[], datetime],
        make_sender: Callable[[WebhookRules], Sender] = Sender,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._make_sender = make_sender
        self._chance = chance
        self._root = parse_address(backend.settings.public_url).root
        self._thread = Thread(target=self._run, name="deliverer", daemon=True)
        self._stopping = ThreadEvent()
        self._on_way: dict[str, asyncio.Task[None]] = {}
        self._receivers: Counter[str] = Counter()
        self._told_step: dict[str, int] = {}
        self.fault: str | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing new; return when what is on its way has its answer, or after some seconds."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_FAREWELL_SECONDS + _PAUSE_SECONDS)

    def _run(self) -> None:
        use_root(self._root)
        while not self._stopping.is_set():
            try:
                asyncio.run(self._deliver())
            except Exception as error:  # noqa: BLE001 - such as certificates that cannot be read
                self._note_fault(error)
                self._stopping.wait(_LONGEST_PAUSE_SECONDS)

    async def _deliver(self) -> None:
        failures = 0
        # A look-up of a name that hangs keeps its thread for longer than a message is waited for.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_MOST, "name-look-up"))
        progress_at = prune_at = monotonic()
        async with self._make_sender(WebhookRules.of(self._backend.settings)) as sender:
            while not self._stopping.is_set():
                try:
                    mark = self._backend.database.mark()
                    if monotonic() >= progress_at:
                        progress_at = monotonic() + PROGRESS_SECONDS
                        self.note_progress()
                    if monotonic() >= prune_at:
                        prune_at = monotonic() + _PRUNE_SECONDS
                        self._prune()
                    due_at = self._send_due(sender)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                    failures += 1
                    self._note_fault(error)
                    await self._pause(min(_PAUSE_SECONDS * 2.0 ** (failures - 1), _LONGEST_PAUSE_SECONDS))
                    continue
                self.fault, failures = None, 0
                await self._wait(mark, due_at, until=min(progress_at, prune_at))
            if self._on_way:
                await asyncio.wait(self._on_way.values(), timeout=_FAREWELL_SECONDS)
            for task in self._on_way.values():
                task.cancel()
            await asyncio.gather(*self._on_way.values(), return_exceptions=True)

    def _note_fault(self, error: Exception) -> None:
        if isinstance(error, AtelierError):
            _log.error("deliveries_not_looked_for", code=error.code, detail=error.detail)
        else:
            _log.exception("deliveries_not_looked_for")
        self.fault = error.title() if isinstance(error, AtelierError) else type(error).__name__

    async def _pause(self, seconds: float) -> None:
        until = monotonic() + seconds
        while not self._stopping.is_set() and monotonic() < until:
            await asyncio.sleep(_LOOK_SECONDS)

    async def _wait(self, mark: Mark | None, due_at: datetime | None, *, until: float) -> None:
        """Return when something may be due: somebody has written, a message's time has come, or one ended."""
        on_way, looked_at = len(self._on_way), monotonic()
        while not self._stopping.is_set() and monotonic() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            is_due = due_at is not None and self._clock() >= due_at and len(self._on_way) < _MOST
            is_blind = mark is None and monotonic() - looked_at >= _BLIND_LOOK_SECONDS
            try:
                is_new = mark is not None and self._backend.database.mark() != mark
            except DatabaseUnavailable:
                return  # which the next look is told, too
            if is_due or is_new or is_blind or len(self._on_way) < on_way:
                return

    def _send_due(self, sender: Sender) -> datetime | None:
        """Send what is due and has room; return when the next message is due that is not on its way."""
        now = self._clock()
        with self._backend.database.read() as session:
            due = find_due(
                session, busy=self._receivers, most_each=_MOST_EACH, except_for=list(self._on_way), now=now
            )
            due_at = next_moment(session, after=now)
        for message in due[: _MOST - len(self._on_way)]:
            self._receivers[message.delivery.receiver] += 1
            task = asyncio.create_task(self._send(sender, message), name=message.delivery.id)
            self._on_way[message.delivery.id] = task
            task.add_done_callback(lambda _, message=message: self._forget(message))  # type: ignore[misc]
        return due_at

    def _forget(self, message: DueMessage) -> None:
        del self._on_way[message.delivery.id]
        self._receivers[message.delivery.receiver] -= 1
        self._receivers += Counter()  # those with none are left out

    async def _send(self, sender: Sender, message: DueMessage) -> None:
        """Send a message, and write what came of it; nothing is raised."""
        delivery, webhook = message.delivery, message.webhook
        started_at, began = self._clock(), monotonic()
        try:
            prepared = self._prepare(message, at=started_at)
            answer = (
                prepared
                if isinstance(prepared, Answer)
                else await sender.send(webhook.url or "", prepared[0], prepared[1])
            )
            step = self._decide(message, answer)
        except DatabaseUnavailable as error:
            _log.warning("delivery_not_sent", delivery_id=delivery.id, detail=error.detail)
            await self._pause(_PAUSE_SECONDS)
            return
        except Exception as error:  # noqa: BLE001 - it is this message's alone
            _log.exception("delivery_failed", delivery_id=delivery.id)
            answer = Answer(error=f"it cannot be made: {type(error).__name__}")
            step = NextStep(State.FAILED)
        seconds = monotonic() - began
        _log.info(
            "delivery_tried",
            delivery_id=delivery.id, job_id=delivery.job_id, event_type=delivery.event,
            receiver=delivery.receiver, attempt=delivery.attempts + 1, status=answer.status,
            error=answer.error, state=step.state.value, seconds=round(seconds, 3),
        )  # fmt: skip
        await self._write(message, answer, step, started_at=started_at, seconds=seconds)

    def _prepare(self, message: DueMessage, *, at: datetime) -> tuple[list[tuple[str, str]], bytes] | Answer:
        """Return header fields and body of an attempt, or why there can be none."""
        delivery = message.delivery
        if delivery.body is None:
            if delivery.snapshot is None:
                raise ValueError("a message without a body, and without what it is made of")
            view = self._show(restore_snapshot(delivery.snapshot))
            delivery.body = make_body(delivery.event, view.data, at=delivery.created_at)
            with self._backend.database.write() as session:
                keep_body(session, delivery.id, delivery.body)
        with self._backend.database.read() as session:
            valid = signing_secrets(session, message.webhook, now=at)
        if not valid:
            return Answer(error="there is no secret to sign it with")
        body = delivery.body.encode()
        return headers_of(valid, message_id=delivery.id, at=at, body=body), body

    def _show(self, job: Job) -> JobView:
        return show_job(self._backend, job, live=None, position=None, queue=None, leader_name=None)

    def _decide(self, message: DueMessage, answer: Answer) -> NextStep:
        return decide_next(
            answer,
            attempt=message.delivery.attempts + 1,
            until=message.delivery.until,
            is_once=message.delivery.event == Event.PROGRESS.value,
            now=self._clock(),
            chance=self._chance(),
        )

    async def _write(
        self, message: DueMessage, answer: Answer, step: NextStep, *, started_at: datetime, seconds: float
    ) -> None:
        """Write what came of an attempt. Until that is done the message is on its way, and not sent again."""
        while True:
            try:
                with self._backend.database.write() as session:
                    note_attempt(
                        session,
                        message.delivery,
                        answer,
                        step,
                        started_at=started_at,
                        seconds=seconds,
                        now=self._clock(),
                    )
            except Exception as error:  # noqa: BLE001 - whatever it is: another message would be sent twice
                _log.warning("delivery_not_noted", delivery_id=message.delivery.id, reason=str(error))
                if self._stopping.is_set():
                    return
                await self._pause(_PAUSE_SECONDS)
            else:
                return

    def note_progress(self) -> None:
        """Write a message for each job that has come further since the last one, where one is wanted."""
        with self._backend.database.read() as session:
            wanted = WebhookRow.events.contains(Event.PROGRESS.value) & WebhookRow.ended_at.is_(None)
            callers = set(session.scalars(select(WebhookRow.caller).where(wanted)))
        if not callers:
            self._told_step.clear()
            return
        running = (Job.status == JobStatus.RUNNING.value) & Job.caller.in_(callers)
        views = read_views(self._backend, lambda session: list(session.scalars(select(Job).where(running))))
        steps = {view.job.id: view.live.step if view.live else view.job.step for view in views}
        further = [view for view in views if steps[view.job.id] > self._told_step.get(view.job.id, 0)]
        self._told_step = steps
        if not further:
            return
        now = self._clock()
        with self._backend.database.write() as session:
            for view in further:
                body = make_body(Event.PROGRESS.value, view.data, at=now)
                for webhook in webhooks_of(session, view.job):
                    if Event.PROGRESS.value in webhook.events.split():
                        add_delivery(session, webhook, view.job, Event.PROGRESS, body=body, now=now)

    def _prune(self) -> None:
        before = self._clock() - timedelta(days=self._backend.settings.delivery_days)
        with self._backend.database.write() as session:
            removed = remove_old(session, before=before, limit=_PRUNED_AT_ONCE)
        if removed:
            _log.info("deliveries_removed", count=removed)
