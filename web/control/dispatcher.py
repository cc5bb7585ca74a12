"""The dispatcher: keeps a window of the queue in the broker; a job's row says whether its message lies there.

What waits for a worker waits in the database, in the order of the queue. Only the first of it are in the
broker: as many as the nodes need to work on for a while without control. So a job that is handed back, or
more urgent, has little before it, and looking through the broker costs the same however much is queued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from shared.broker import ROUTES, BrokerView, Dispatch, Entry, list_of, route_at
from shared.errors import JobUnreadable, StaleJob
from shared.logs import get_logger
from shared.protocol import JobMessage, message_id
from shared.redis.workers import WorkerBeat
from web.backend import Backend
from web.control.alone import FailingJobs
from web.control.messages import message_for, try_message_for
from web.control.projector import Projector
from web.control.stale import StaleAttempts
from web.db.models import Job
from web.jobs.faults import earlier_faults
from web.jobs.queries import get_jobs
from web.jobs.queue import (
    InBroker,
    QueuedAttempt,
    QueuePlace,
    count_dispatched,
    dispatched_before,
    handed_back_in_broker,
    jobs_to_dispatch,
    last_dispatched,
    mark_dispatched,
    open_attempts,
    pinned_jobs,
    places_in_line,
)
from web.jobs.routing import (
    ANYWHERE,
    Place,
    decide_place,
    is_eligible,
    is_handed_back,
    priority_of,
    window_size,
)
from web.jobs.states import Trigger
from web.jobs.transitions import apply_trigger

__all__ = ["Dispatcher", "message_for"]
_log = get_logger(__name__)
_BATCH = 200
_GRACE = timedelta(seconds=5)
#: What the queue orders jobs by: rank, age, id.
#: How long it is believed how many nodes there are.
_COUNT_FOR = timedelta(seconds=10)


class Dispatcher:
    """Sends due messages, and finds messages that the broker has lost, or has too many of."""

    def __init__(
        self,
        backend: Backend,
        dispatch: Dispatch,
        stale: StaleAttempts,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._dispatch = dispatch
        self._stale = stale
        self._taken_for = timedelta(seconds=backend.settings.lease_seconds)
        self._clock = clock
        self._windows = dict.fromkeys(ROUTES, 0)
        self._counted_at: datetime | None = None
        self._failing = FailingJobs(clock=clock)
        self._set_aside = 0
        self._patience = timedelta(seconds=backend.settings.exact_seconds)
        #: When a node of some numerics was seen last.
        self._seen_at: dict[str, datetime] = {}
        #: The routes of some numerics that messages were sent on.
        self._own_routes: set[str] = set()

    @property
    def skipped(self) -> int:
        """How many entries were set aside and jobs passed over since the start."""
        return self._failing.count + self._set_aside

    def send_due(self) -> int:
        """Fill the window of each route in the order of the queue; return how many messages were sent.

        A job that was handed back is sent at once, and before all that waits in the broker.

        Raises:
            RedisUnavailable: messages that were not sent stay due.
        """
        windows = self._windows_now()
        with self._backend.database.read() as session:
            in_broker = count_dispatched(session)
            room = {route: min(windows[route] - in_broker[route].count, _BATCH) for route in windows}
            due = jobs_to_dispatch(session, room=room, in_broker=in_broker)
        if not due:
            return 0
        places = self._places(due)
        fences = self._backend.redis.claims.fences([job.id for job in due])
        messages: dict[str, JobMessage] = {}
        for job in due:
            message = try_message_for(job, numerics=places[job.id].numerics)
            if isinstance(message, JobUnreadable):
                self._failing.attempt(job.id, partial(self._fail, job, message))
            else:
                messages[job.id] = message
        stale = {name for name, message in messages.items() if fences.get(name, 0) > message.attempt}
        sendable = [job for job in due if job.id in messages and job.id not in stale]
        sent = 0
        for route, pinned_to in dict.fromkeys((job.route, places[job.id].pinned_to) for job in sendable):
            jobs = [job for job in sendable if (job.route, places[job.id].pinned_to) == (route, pinned_to)]
            sent += self._send(jobs, messages, route, pinned_to, in_broker[route])
        self._take_back(sendable, places, room)
        self._settle([job for job in due if job.id in stale], fences)
        return sent

    def send_lost(self, projector: Projector) -> int:
        """Make attempts due again whose message was sent, but is neither in the broker nor with a worker.

        The order matters: rows, broker, leases, then the rest of the stream; only what is still queued after
        that is lost. A mistake is cheap, since the claim drops a duplicate.
        """
        with self._backend.database.read() as session:
            now = self._clock()
            sent = dispatched_before(session, now - _GRACE, now=now)
            pinned = pinned_jobs(session)
        self._own_routes |= {route_at(job.route, job.pinned_to) for job in pinned}
        view = self._dispatch.look([*ROUTES, *sorted(self._own_routes)])
        self._tidy(view)
        moved = self._move_on(pinned, view)
        sent = [attempt for attempt in sent if attempt.job_id not in moved]
        if not sent:
            return 0
        known = view.waiting | view.held_about(self._clock(), self._taken_for)
        missing = [attempt for attempt in sent if attempt.message_id not in known]
        unheld = set(self._backend.redis.claims.without_lease(attempt.job_id for attempt in missing))
        if missing:
            projector.drain()
        lost = [attempt for attempt in missing if attempt.job_id in unheld]
        fences = self._backend.redis.claims.fences([attempt.job_id for attempt in sent])
        stale = {one.job_id for one in sent if fences.get(one.job_id, 0) > one.attempt}
        lost = [attempt for attempt in lost if attempt.job_id not in stale]
        if lost:
            _log.warning("messages_lost", count=len(lost), job_ids=[attempt.job_id for attempt in lost[:10]])
        self._mark(lost, None)
        if stale:
            with self._backend.database.read() as session:
                rows = get_jobs(session, stale)
            seen = {attempt.job_id: attempt for attempt in sent}
            self._settle([job for job in rows.values() if QueuedAttempt.of(job) == seen[job.id]], fences)
        return len(lost)

    def _places(self, jobs: Sequence[Job]) -> dict[str, Place]:
        """Return by id where each of the jobs is to be carried out."""
        # What cannot be read is of no numerics.
        known = {job.id: job.numerics for job in jobs if isinstance(job.numerics, str) and job.numerics}
        if not known:
            return {job.id: ANYWHERE for job in jobs}
        now, beats = self._clock(), self._look_at_nodes()

        def decide(job: Job) -> Place:
            numerics = known.get(job.id)
            since = max(job.queued_at, self._seen_at.get(numerics or "", job.queued_at))
            return decide_place(
                numerics,
                beats,
                job.route,
                waited=now - since,
                patience=self._patience,
                failed_at={fault["worker"] for fault in earlier_faults(job.metrics)},
            )

        return {job.id: decide(job) for job in jobs}

    def _look_at_nodes(self) -> list[WorkerBeat]:
        """Return what nodes say, and note when those of each numerics were seen."""
        beats = self._backend.redis.workers.alive()
        for beat in beats:
            for numerics in beat.numerics.values() if beat.takes_jobs else ():
                self._seen_at[numerics] = self._clock()
        return beats

    def _move_on(self, pinned: Sequence[Job], view: BrokerView) -> set[str]:
        """Take back the messages of jobs that wait for nodes which do not come, to be sent to others.

        Returns:
            The ids of these jobs.
        """
        places = self._places(pinned)
        moved = {job.id: job for job in pinned if places[job.id].pinned_to != job.pinned_to}
        if not moved:
            return set()
        ids = {message_id(job.id, job.attempt) for job in moved.values()}
        self._dispatch.remove([entry for entry in view.entries if entry.message_id in ids])
        self._mark(map(QueuedAttempt.of, moved.values()), None)
        _log.warning("jobs_moved_on", count=len(moved), job_ids=list(moved)[:10])
        return set(moved)

    def _send(
        self,
        jobs: Sequence[Job],
        messages: dict[str, JobMessage],
        route: str,
        pinned_to: str | None,
        in_broker: InBroker,
    ) -> int:
        """Send the messages of jobs of one route to its nodes, or to those of some numerics; mark them.

        `in_broker` is what lies in the broker for all nodes of the route.
        """
        own = route_at(route, pinned_to)
        if pinned_to is not None:
            self._own_routes.add(own)
        handed_back = [job for job in jobs if is_handed_back(job.queue_rank)]
        others = [job for job in jobs if not is_handed_back(job.queue_rank)]
        if handed_back:
            self._send_first(handed_back, messages, own)
            self._mark(map(QueuedAttempt.of, handed_back), self._clock(), pinned_to=pinned_to)
        if others:
            self._send_in_order(others, messages, route, own, None if pinned_to else in_broker)
            self._mark(map(QueuedAttempt.of, others), self._clock(), pinned_to=pinned_to)
        return len(jobs)

    def _send_in_order(
        self,
        jobs: Sequence[Job],
        messages: Mapping[str, JobMessage],
        route: str,
        own: str,
        in_broker: InBroker | None,
    ) -> None:
        """Send messages to their places among those that lie in the lists of a route.

        As a rule that is behind all others. It is looked at only where it may be otherwise: where something
        there goes after one of these jobs, such as one whose message was lost; where one was sent before, so
        that it may lie there already; and where nobody has counted (`in_broker` is None).
        """
        lists: dict[int, list[Job]] = {}
        for job in jobs:
            lists.setdefault(list_of(route, priority_of(job.queue_rank)), []).append(job)
        first = min(map(QueuePlace.of, jobs))
        are_last = in_broker is not None and (in_broker.last is None or in_broker.last <= first)
        if are_last and not any(job.sends for job in jobs):
            for step, group in lists.items():
                self._dispatch.send([messages[job.id] for job in group], route=own, step=step)
            return
        view = self._dispatch.look([own])
        with self._backend.database.read() as session:
            known, due = places_in_line(
                session, {job_id for entry in view.entries if (job_id := _job_of(entry))}
            )
        # Where these lie, and others that are due, is where they were to go once.
        ids = {message_id(job.id, job.attempt) for job in jobs}
        moving = {entry for entry in view.entries if entry.message_id in ids or _job_of(entry) in due}
        self._dispatch.remove(list(moving))
        standing = [entry for entry in view.entries if entry not in moving]
        for step, group in lists.items():
            key = self._backend.redis.names.queue_list(own, step)
            there = [
                (known[job_id], entry)
                for entry in standing
                if entry.key == key and (job_id := _job_of(entry)) in known
            ]
            before, last = decide_places([(QueuePlace.of(job), messages[job.id]) for job in group], there)
            self._dispatch.insert(before, route=own, step=step)
            self._dispatch.send(last, route=own, step=step)

    def _take_back(self, sent: Sequence[Job], places: Mapping[str, Place], room: Mapping[str, int]) -> None:
        """Take the last messages of a window back that urgent ones were sent beside: they are due again."""
        for route, left in room.items():
            inside = [
                job
                for job in sent
                if job.route == route
                and places[job.id].pinned_to is None
                and not is_handed_back(job.queue_rank)
            ]
            excess = len(inside) - max(left, 0)
            if excess <= 0:
                continue
            with self._backend.database.read() as session:
                last = last_dispatched(session, route, limit=excess)
            ids = {message_id(job.id, job.attempt) for job in last}
            view = self._dispatch.look([route])
            self._dispatch.remove([entry for entry in view.entries if entry.message_id in ids])
            self._mark(map(QueuedAttempt.of, last), None)
            _log.info("messages_taken_back", route=route, count=len(last))

    def _send_first(self, due: Sequence[Job], messages: dict[str, JobMessage], route: str) -> None:
        """Put handed-back jobs before all others, in order with those that lie in the broker already.

        A node that hands a job back puts its message behind all others; that one goes.
        """
        with self._backend.database.read() as session:
            earlier = [
                job for job in handed_back_in_broker(session) if route_at(job.route, job.pinned_to) == route
            ]
        places = self._places(earlier)
        view = self._dispatch.look([route])
        first = {message_id(job.id, job.attempt): job for job in due}
        for job in earlier:
            name = message_id(job.id, job.attempt)
            message = try_message_for(job, numerics=places[job.id].numerics)
            if name in view.waiting and isinstance(message, JobMessage):
                messages[job.id] = message
                first[name] = job
        ordered = sorted(first.values(), key=QueuePlace.of)
        instead = [entry for entry in view.entries if entry.message_id in first]
        self._dispatch.send_first([messages[job.id] for job in ordered], instead=instead, route=route)

    def _tidy(self, view: BrokerView) -> None:
        """Take out of the broker what is no message, what no row waits for, and what is there twice."""
        now = self._clock()
        junk = [entry for entry in view.entries if entry.message_id is None]
        for entry in junk:
            _log.error("entry_set_aside", key=entry.key, reason=entry.fault)
            self._backend.redis.set_aside.put(entry.text, reason=entry.fault, source=entry.key, now=now)
        for tag, text in view.held_junk.items():
            _log.error("held_entry_set_aside", tag=tag)
            reason = "it was held as taken, and is no message"
            self._backend.redis.set_aside.put(
                text, reason=reason, source=self._backend.redis.names.unacked, now=now
            )
        self._set_aside += len(junk) + len(view.held_junk)
        self._dispatch.remove(junk)
        self._dispatch.remove_held(list(view.held_junk))
        ours = [entry for entry in view.entries if entry.message_id is not None]
        with self._backend.database.read() as session:
            attempts = open_attempts(session, {job_id for entry in ours if (job_id := _job_of(entry))})
        wanted = {message_id(job_id, attempt) for job_id, attempt in attempts.items()}
        leftover, seen = [], set()
        for entry in ours:
            if entry.message_id not in wanted or entry.message_id in seen:
                leftover.append(entry)
            seen.add(entry.message_id)
        if leftover:
            ids = [entry.message_id for entry in leftover[:10]]
            _log.info("messages_withdrawn", count=len(leftover), message_ids=ids)
        self._dispatch.remove(leftover)

    def _settle(self, jobs: Sequence[Job], fences: dict[str, int]) -> None:
        """Repair jobs below the fence, except those that a node works on under a later attempt."""
        if not jobs:
            return
        unheld = set(self._backend.redis.claims.without_lease(job.id for job in jobs))
        if unheld:
            self._backend.check_storage()
        for job in jobs:
            if job.id in unheld:
                self._failing.attempt(job.id, partial(self._stale.settle, job, fences[job.id]))

    def _fail(self, job: Job, error: JobUnreadable) -> None:
        """End a job of which no message can be made."""
        _log.error("job_unreadable", job_id=job.id, reason=error.detail)
        try:
            with self._backend.database.write() as session:
                current = session.merge(job, load=False)
                values = {"error": error.to_json()}
                apply_trigger(session, current, Trigger.FAILED, now=self._clock(), values=values)
        except StaleJob:
            return
        self._backend.redis.progress.notify(job.id)

    def _windows_now(self) -> dict[str, int]:
        """Return the size of each route's window for the nodes that there are."""
        now = self._clock()
        if self._counted_at is None or abs(now - self._counted_at) >= _COUNT_FOR:
            beats, jobs_each = self._backend.redis.workers.alive(), self._backend.settings.queue_window
            for route in ROUTES:
                workers = sum(is_eligible(beat, route) for beat in beats)
                self._windows[route] = window_size(workers, jobs_each=jobs_each)
            self._counted_at = now
        return self._windows

    def _mark(
        self, attempts: Iterable[QueuedAttempt], moment: datetime | None, *, pinned_to: str | None = None
    ) -> None:
        listed = list(attempts)
        if listed:
            with self._backend.database.write() as session:
                mark_dispatched(session, listed, moment, pinned_to=pinned_to)


def _job_of(entry: Entry) -> str | None:
    return entry.message_id.rpartition(":")[0] if entry.message_id else None


def decide_places(
    jobs: Sequence[tuple[QueuePlace, JobMessage]], standing: Sequence[tuple[QueuePlace, Entry]]
) -> tuple[list[tuple[JobMessage, Entry]], list[JobMessage]]:
    """Decide where messages go among the entries of a list, by what the queue orders their jobs by.

    Args:
        jobs: The messages, in the order of the queue.
        standing: The entries, the next to be taken first.

    Returns:
        Those that go right before an entry, with it: before the first that goes after them. And those that
        go behind all.
    """
    before: list[tuple[JobMessage, Entry]] = []
    last: list[JobMessage] = []
    for place, message in jobs:
        entry = next((entry for other, entry in standing if other > place), None)
        if entry is None:
            last.append(message)
        else:
            before.append((message, entry))
    return before, last
