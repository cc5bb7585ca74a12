"""Nodes of the first release: their names in Redis carry no id, so control carries things across.

An installation that was upgraded may have such nodes for as long as the upgrade rolls through its machines.
What they report is put into the installation's own stream, their leases and progress are shown under its own
names, flags and fences are handed on to them, and each that is idle gets a message. Rows and files are the
same for both; nothing else of the service knows that there are two kinds of nodes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import redis
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from shared.broker import DEFAULT_ROUTE
from shared.errors import UnreadableMessage
from shared.logs import get_logger
from shared.options import FIRST_OPTIONS
from shared.protocol import EventType, WorkerEvent, is_message_id, read_event
from shared.redis import Coordination
from shared.redis.connection import is_wrong_type, redis_errors
from shared.redis.names import FIRST_NAMES
from shared.redis.workers import WorkerBeat, WorkerState
from shared.status import JobStatus
from web.backend import Backend
from web.db.models import Job
from web.jobs.queue import QueuedAttempt, mark_dispatched

_PAGE = 200
_ROWS = 2000
#: A message that waits for a first-release node is not lost; its row says so anew when it is this old.
_REFRESH = timedelta(seconds=2)
_NEVER = datetime.min.replace(tzinfo=UTC)
#: What such a node calls the job's fault although it may be its own: another node is to try.
_NODE_FAULTS = frozenset({"artifact_missing", "engine_failed", "worker_crash_loop"})
_FIRST_PROTOCOL = 1
#: It refuses a message that has any other field.
_FIRST_FIELDS = frozenset(
    {
        "version", "job_id", "attempt", "content", "style", "options", "checkpoints_since", "origin",
        "run_timeout_seconds",
    }
)  # fmt: skip

#: Shows a lease of the one kind under the names of the other, unless another node holds that.
_SHOW_LEASE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_T = TypeVar("_T")
_log = get_logger(__name__)


@dataclass(frozen=True)
class Attempt:
    """The attempt that a row is at."""

    job_id: str
    attempt: int


def is_of_first_release(beat: WorkerBeat) -> bool:
    """Whether a node of the lobby takes messages under the old names; one that sees no storage does not."""
    return beat.protocol >= _FIRST_PROTOCOL and beat.state is not WorkerState.UNHEALTHY


def count_hungry(beats: Sequence[WorkerBeat], *, waiting: int, shunned: frozenset[str]) -> int:
    """Return how many messages the idle nodes lack; `waiting` are under way to them already."""
    idle = [
        beat
        for beat in beats
        if is_of_first_release(beat) and beat.state is WorkerState.IDLE and beat.worker_id not in shunned
    ]
    return max(0, len(idle) - waiting)


def judge_report(event: WorkerEvent, *, worker_id: str | None = None) -> WorkerEvent:
    """Return a report as control takes it: a failure that may be the node's own hands the job back.

    `worker_id` is the node that had the job: what fails at a second one, too, is the job's.
    """
    error = event.data.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if event.type is not EventType.FAILED or not isinstance(error, dict) or code not in _NODE_FAULTS:
        return event
    data = {"step": 0, "fault": {**error, "worker": worker_id or "a worker of the first release"}}
    changes = {"type": EventType.RELEASED, "event_id": f"{event.event_id}:released", "data": data}
    return event.model_copy(update=changes)


class FirstReleaseNodes:
    """Carries reports, leases, progress, flags and messages between both kinds of names."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._old = Coordination.connect(backend.settings, FIRST_NAMES)
        self._lists = FIRST_NAMES.queue_lists(DEFAULT_ROUTE)
        self._own_lists = backend.redis.names.queue_lists(DEFAULT_ROUTE)
        self._show_lease = backend.redis.client.register_script(_SHOW_LEASE)
        self._last_entry = "-"
        self._shunned: frozenset[str] = frozenset()
        self._shown: dict[str, str] = {}
        self._has_taken_over = False

    def _take_over(self) -> None:
        """Take what waits under the old names off the broker, and make its jobs due.

        Messages of jobs that this database does not know are put back: they are another installation's.
        """
        ours = 0
        for name in self._lists:
            count = self._ask(partial(self._old.client.llen, name), 0)
            while count > 0:
                with redis_errors():
                    texts: Any = self._old.client.rpop(name, min(count, _PAGE)) or []
                count -= _PAGE
                ids = {text: _job_of(text) for text in texts}
                known = self._make_due([job_id for job_id in ids.values() if job_id])
                foreign = [text for text in texts if ids[text] not in known]
                if foreign:
                    with redis_errors():
                        self._old.client.lpush(name, *foreign)
                ours += len(texts) - len(foreign)
        self._has_taken_over = True
        if ours:
            _log.info("first_release_queue_taken_over", count=ours)

    def step(self) -> None:
        """Carry everything across once.

        Raises:
            RedisUnavailable, DatabaseUnavailable: the next step continues where this one stopped.
        """
        if not self._has_taken_over:
            self._take_over()
        self._forward_reports()
        with self._backend.database.read() as session:
            attempts = _attempts_under_way(session)
        held = self._show_leases(attempts)
        self._hand_on(held)
        self._show_progress([attempt.job_id for attempt in held])
        self._feed()

    def close(self) -> None:
        """Close the connections."""
        self._old.close()

    def _forward_reports(self) -> None:
        """Put the reports of our jobs into our own stream; the inbox knows one that comes twice."""
        while True:
            start = self._last_entry if self._last_entry == "-" else f"({self._last_entry}"
            stream = self._old.stream.name
            entries: list[Any] = self._ask(
                partial(self._old.client.xrange, stream, min=start, count=_PAGE), []
            )
            if not entries:
                return
            events = {entry_id: _event(fields) for entry_id, fields in entries}
            known = self._known([event.job_id for event in events.values() if event])
            for entry_id, event in events.items():
                if event is not None and event.job_id in known:
                    worker_id = self._worker_of(event.job_id)
                    judged = judge_report(event, worker_id=worker_id)
                    if judged is not event:
                        _log.warning("first_release_node_failed", job_id=event.job_id, worker_id=worker_id)
                        # It may see another storage, or none: it gets no more messages.
                        self._shunned |= {worker_id} if worker_id else frozenset()
                    self._backend.redis.stream.report(judged)
                    with redis_errors():
                        self._old.client.xdel(self._old.stream.name, entry_id)
                self._last_entry = entry_id

    def _worker_of(self, job_id: str) -> str | None:
        with self._backend.database.read() as session:
            return session.scalar(select(Job.worker_id).where(Job.id == job_id))

    def _show_leases(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Show leases held under the old names under ours; return the attempts that are held so."""
        if not attempts:
            return []
        keys = [FIRST_NAMES.key("lease", attempt.job_id) for attempt in attempts]
        with redis_errors():
            pipeline = self._old.client.pipeline(transaction=False)
            for key in keys:
                pipeline.mget([key])  # GET fails on a key of another type
                pipeline.pttl(key)
            answers = pipeline.execute()
        held = []
        for attempt, (owner,), left_ms in zip(attempts, answers[::2], answers[1::2], strict=True):
            if owner is None or left_ms <= 0:
                continue
            held.append(attempt)
            key = self._backend.redis.names.key("lease", attempt.job_id)
            with redis_errors():
                is_shown = self._show_lease(keys=[key], args=[owner, left_ms])
            if not is_shown:  # one of our own nodes has it: the old one must stop
                self._old.claims.fence(attempt.job_id, attempt.attempt + 1)
        return held

    def _hand_on(self, held: Sequence[Attempt]) -> None:
        """Hand flags and fences on to the nodes that hold these attempts."""
        for attempt in held:
            self._old.claims.fence(attempt.job_id, attempt.attempt)
            flag = self._backend.redis.flags.read(attempt.job_id, attempt.attempt)
            if flag is not None:
                self._old.flags.raise_flag(attempt.job_id, attempt.attempt, flag)

    def _show_progress(self, job_ids: list[str]) -> None:
        shown = {}
        for job_id, progress in self._old.progress.read(job_ids).items():
            shown[job_id] = progress.model_dump_json()
            if shown[job_id] != self._shown.get(job_id):
                self._backend.redis.progress.publish(job_id, progress)
        self._shown = shown

    def _feed(self) -> None:
        """Give each idle node a message from our queue; those that wait there stay known as sent."""
        beats = self._old.workers.alive()
        under_way = self._keep_sent(self._messages_under_way())
        for _ in range(count_hungry(beats, waiting=under_way, shunned=self._shunned)):
            if not self._move_one():
                return

    def _messages_under_way(self) -> set[str]:
        """Return the ids of messages that wait for an old node, or that one has just taken.

        One that was taken longer ago has a lease, or its node is dead.
        """
        now, span, old = self._clock().timestamp(), self._backend.settings.lease_seconds, self._old.client
        texts: list[Any] = []
        for name in self._lists:
            texts += self._ask(partial(old.lrange, name, 0, -1), [])
        # Of the future are those of a node whose clock is wrong: nobody knows when it took them.
        index, unacked = FIRST_NAMES.unacked_index, FIRST_NAMES.unacked
        tags: list[Any] = self._ask(partial(old.zrangebyscore, index, now - span, now + span), [])
        held: list[Any] = self._ask(partial(old.hmget, unacked, tags), []) if tags else []
        texts += [_message_of(text) for text in held]
        return {found for text in texts if (found := _id_of(text))}

    def _move_one(self) -> bool:
        """Move the next message to the old queue; one that an old node cannot read stays where it is."""
        for name, old_name in zip(self._own_lists, self._lists, strict=True):
            with redis_errors():
                text: Any = self._backend.redis.client.rpop(name)
            if text is None:
                continue
            if is_for_first_release(text) and self._ask(partial(self._push, old_name, text), nothing=False):
                return True
            self._push(name, text)
            return False
        return False

    def _ask(self, question: Callable[[], Any], nothing: _T) -> _T:
        """Return a reply of Redis; nothing where somebody else has another type of key under the old name."""
        with redis_errors():
            try:
                found: _T = question()
            except redis.ResponseError as error:
                if not is_wrong_type(error):
                    raise
                return nothing
        return found

    def _push(self, name: str, text: str) -> bool:
        with redis_errors():
            return bool(self._backend.redis.client.rpush(name, text))

    def _keep_sent(self, message_ids: set[str]) -> int:
        """Note that the messages of queued attempts are still on their way; return how many there are."""
        if not message_ids:
            return 0
        ids = {found.rpartition(":")[0] for found in message_ids}
        with self._backend.database.read() as session:
            queued = _queued(session, ids)
        sent = [attempt for attempt in queued if attempt.message_id in message_ids]
        now = self._clock()
        late = [attempt for attempt in sent if (attempt.dispatched_at or _NEVER) < now - _REFRESH]
        if late:
            with self._backend.database.write() as session:
                mark_dispatched(session, late, now)
        return len(sent)

    def _make_due(self, job_ids: list[str]) -> set[str]:
        known = self._known(job_ids)
        if known:
            queued = Job.status == JobStatus.QUEUED.value
            with self._backend.database.write() as session:
                session.execute(update(Job).where(Job.id.in_(known), queued).values(dispatched_at=None))
        return known

    def _known(self, job_ids: list[str]) -> set[str]:
        if not job_ids:
            return set()
        with self._backend.database.read() as session:
            return set(session.scalars(select(Job.id).where(Job.id.in_(job_ids))))


def _attempts_under_way(session: Session) -> list[Attempt]:
    """Return the attempts that a node may hold: running ones, and those whose message was sent."""
    held = Job.status.in_([JobStatus.RUNNING.value, JobStatus.CANCELING.value])
    sent = (Job.status == JobStatus.QUEUED.value) & Job.dispatched_at.is_not(None)
    query = select(Job.id, Job.attempt).where(or_(held, sent)).order_by(Job.created_at).limit(_ROWS)
    return [Attempt(*row) for row in session.execute(query)]


def _queued(session: Session, job_ids: set[str]) -> list[QueuedAttempt]:
    columns = select(Job.id, Job.attempt, Job.version, Job.dispatched_at)
    query = columns.where(Job.id.in_(job_ids), Job.status == JobStatus.QUEUED.value)
    return [QueuedAttempt(*row) for row in session.execute(query)]


def _event(fields: Any) -> WorkerEvent | None:  # noqa: ANN401 - whatever stands in the stream
    try:
        return read_event(str(fields.get("event", "")))
    except (UnreadableMessage, AttributeError):
        return None  # perhaps another installation's; it stays where it is


def is_for_first_release(text: object) -> bool:
    """Whether a message in the broker is one that a node of the first release can read."""
    try:
        _, names, _ = json.loads(base64.b64decode(_envelope(text)["body"]))
        message = names["message"]
        return set(message) <= _FIRST_FIELDS and set(message["options"]) <= FIRST_OPTIONS
    except (KeyError, TypeError, ValueError):
        return False


def _envelope(text: object) -> dict[str, Any]:
    try:
        envelope = json.loads(str(text))
    except ValueError:
        return {}
    return envelope if isinstance(envelope, dict) else {}


def _message_of(text: object) -> str:
    """Return the message in an entry of those that were taken: a list that begins with it."""
    try:
        entry = json.loads(str(text))
    except ValueError:
        return ""
    return json.dumps(entry[0]) if isinstance(entry, list) and entry else ""


def _id_of(text: object) -> str | None:
    """Return a message's id; None for what is no message of ours."""
    headers = _envelope(text).get("headers")
    found = headers.get("id") if isinstance(headers, dict) else None
    return found if is_message_id(found) else None


def _job_of(text: object) -> str | None:
    return (_id_of(text) or "").rpartition(":")[0] or None
