"""Workers and the queue as the API shows them, and draining a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response

from shared.broker import DEFAULT_ROUTE
from shared.clock import utc_now
from shared.errors import (
    DatabaseUnavailable,
    MalformedRequest,
    NotFound,
    RedisUnavailable,
    StorageFull,
    WorkerTooOld,
)
from shared.logs import get_logger
from shared.redis.workers import WorkerBeat, WorkerState
from shared.settings import Settings
from shared.storage.store import Room
from web.address import link
from web.api import API_PATH
from web.api.http import json_answer, refuse_body
from web.api.job_view import job_url
from web.api.openapi import Answer, Operation
from web.api.service_schemas import (
    QueueStateOut,
    RoomOut,
    RoomsOut,
    WorkerJobOut,
    WorkerMemoryOut,
    WorkerOut,
    WorkersOut,
    WorkerUrlsOut,
)
from web.backend import Backend, decide_room
from web.jobs.estimates import QueueState, no_start_reason, wait_ahead
from web.jobs.line import look_at_line, read_line_rows
from web.jobs.queries import QueueCounts, count_queue, names_of_jobs, recent_run_seconds
from web.jobs.routing import is_eligible
from web.jobs.told_waits import ToldWaits, read_told_waits
from web.jobs.waits import Line
from web.security import current_caller
from web.services import get_backend

_log = get_logger(__name__)
_NO_NAMES: Mapping[str, str] = MappingProxyType({})
_NONE_TOLD = ToldWaits()
_NO_ROOMS: Mapping[str, Room] = MappingProxyType({})
workers = Blueprint("workers", __name__, url_prefix=API_PATH)


def drain_worker(backend: Backend, worker_id: str) -> WorkerBeat:
    """Ask a worker to hand its job back and end; return it as draining. May be repeated.

    Raises:
        NotFound: when no worker of this name is connected.
        WorkerTooOld: when its release knows no such request.
        RedisUnavailable: when it cannot be asked.
    """
    beat = backend.redis.workers.drain(worker_id) or backend.redis.lobby.drain(worker_id)
    if beat is None:
        raise NotFound(f"there is no worker '{worker_id}'; it may have ended already")
    _log.info("drain_asked", worker_id=worker_id)
    return beat


def worker_to_json(
    beat: WorkerBeat, *, now: datetime, names: Mapping[str, str] = _NO_NAMES
) -> dict[str, Any]:
    """Return a worker as the API shows it; `names` are those of jobs, by id."""
    return _worker(beat, names, now).model_dump(mode="json")


def workers_to_json(
    beats: Sequence[WorkerBeat] | None,
    *,
    now: datetime,
    names: Mapping[str, str] = _NO_NAMES,
    control_fault: str | None = None,
    rooms: Mapping[str, Room] = _NO_ROOMS,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Return the workers as the API shows them; None while Redis cannot be asked.

    `rooms` are those of `storage` and `database` as seen here; `settings` say how much has to be free.
    """
    settings = settings or Settings()
    return WorkersOut(
        workers=None if beats is None else [_worker(beat, names, now) for beat in beats],
        room=RoomsOut(
            storage=_room(rooms.get("storage")),
            database=_room(rooms.get("database")),
            min_free_bytes=settings.min_free_bytes,
        ),
        message=message_of(beats, control_fault=control_fault, no_room=decide_room(rooms, settings)),
    ).model_dump(mode="json")


def queue_to_json(
    counts: QueueCounts,
    beats: Sequence[WorkerBeat] | None,
    run_seconds: Sequence[float],
    *,
    now: datetime,
    control_fault: str | None = None,
    no_room: StorageFull | None = None,
    line: Line | None = None,
    told: ToldWaits = _NONE_TOLD,
) -> dict[str, Any]:
    """Return the queue as the API shows it; `run_seconds` is how long the last jobs took.

    `line` is what is known of each that runs and waits, `told` what became of the waits told before.

    `no_room` is why no new work is taken in, if the disks are too full.
    """
    eligible = None if beats is None else sum(is_eligible(beat, DEFAULT_ROUTE) for beat in beats)
    age = None if counts.oldest is None else max(0.0, (now - counts.oldest).total_seconds())
    wait = wait_ahead(counts.depth + 1, QueueState(counts.running, eligible, run_seconds, line=line))
    return QueueStateOut(
        depth=counts.depth,
        waiting_for_others=counts.followers,
        running=counts.running,
        paused=counts.paused,
        oldest_age_seconds=None if age is None else round(age, 1),
        backlog_seconds=None if wait is None else wait.likely,
        backlog_low_seconds=None if wait is None else wait.low,
        backlog_high_seconds=None if wait is None else wait.high,
        told_waits=told.count,
        told_waits_kept=told.share,
        workers=eligible,
        message=message_of(beats, control_fault=control_fault, no_room=no_room),
    ).model_dump(mode="json")


def message_of(
    beats: Sequence[WorkerBeat] | None,
    *,
    control_fault: str | None = None,
    no_room: StorageFull | None = None,
) -> str | None:
    """Return why no job can start, or none is taken in, in one sentence; None when all is well."""
    if no_room is not None:
        return no_room.detail
    return no_start_reason(beats, control_fault=control_fault, route=DEFAULT_ROUTE)


def _worker(beat: WorkerBeat, names: Mapping[str, str], now: datetime) -> WorkerOut:
    job = None
    if beat.job is not None:
        job = WorkerJobOut(
            id=beat.job.job_id,
            name=names.get(beat.job.job_id),
            attempt=beat.job.attempt,
            step=beat.job.step,
            steps=beat.job.steps,
            since=beat.job.since,
            url=job_url(beat.job.job_id),
        )
    drain = link(f"{API_PATH}/workers/{quote(beat.worker_id, safe='')}/drain")
    return WorkerOut(
        id=beat.worker_id,
        host=beat.host,
        device=beat.device,
        memory=WorkerMemoryOut(
            total_bytes=beat.memory_total_bytes,
            used_bytes=beat.memory_used_bytes,
            job_bytes=beat.job_memory_bytes,
        ),
        storage=RoomOut(total_bytes=beat.storage_total_bytes, free_bytes=beat.storage_free_bytes),
        weights=beat.weights,
        methods=beat.methods,
        not_served=beat.not_served,
        numerics=beat.numerics,
        labels=beat.labels,
        notice=beat.notice,
        state=beat.state,
        reason=beat.reason,
        faults=beat.faults,
        job=job,
        version=beat.version,
        build=beat.build,
        protocol=beat.protocol,
        started_at=beat.started_at,
        heartbeat_age_seconds=_age_seconds(beat, now),
        urls=WorkerUrlsOut(
            drain=drain if beat.can_drain and beat.state is not WorkerState.DRAINING else None
        ),
    )


def _room(room: Room | None) -> RoomOut:
    return RoomOut(total_bytes=room and room.total_bytes, free_bytes=room and room.free_bytes)


def _age_seconds(beat: WorkerBeat, now: datetime) -> float:
    """Return the age of a beat by Redis' clock; of an older node's by that node's, which may be off."""
    if beat.age_seconds is not None:
        return round(beat.age_seconds, 1)
    return round(max(0.0, (now - beat.at).total_seconds()), 1)


def read_workers(backend: Backend, *, caller: str) -> dict[str, Any]:
    """Return the workers as they are now; a job's name only to its caller.

    Raises:
        DatabaseUnavailable: when it cannot be asked for the names.
    """
    beats = backend.live.workers()
    names = _names(backend, beats or (), caller=caller)
    rooms, settings = backend.rooms(), backend.settings
    return workers_to_json(
        beats,
        names=names,
        now=utc_now(),
        control_fault=backend.live.control_fault(),
        rooms=rooms,
        settings=settings,
    )


def read_queue(backend: Backend) -> dict[str, Any]:
    """Return the queue as it is now, of all callers.

    Raises:
        DatabaseUnavailable: when it cannot be counted.
    """
    with backend.database.read() as session:
        counts, run_seconds = count_queue(session), recent_run_seconds(session, DEFAULT_ROUTE)
        rows, told = read_line_rows(session, DEFAULT_ROUTE), read_told_waits(session)
    beats = backend.live.workers()
    return queue_to_json(
        counts,
        beats,
        run_seconds,
        now=utc_now(),
        control_fault=backend.live.control_fault(),
        no_room=backend.find_no_room(),
        line=look_at_line(backend, rows, beats),
        told=told,
    )


def drain_and_read(backend: Backend, worker_id: str, *, caller: str) -> dict[str, Any]:
    """Ask a worker to drain, and return it.

    Raises:
        NotFound, WorkerTooOld, RedisUnavailable: as `drain_worker` does.
        DatabaseUnavailable: when it cannot be asked for a name; the worker drains all the same.
    """
    beat = drain_worker(backend, worker_id)
    return worker_to_json(beat, names=_names(backend, [beat], caller=caller), now=utc_now())


def _names(backend: Backend, beats: Iterable[WorkerBeat], *, caller: str) -> dict[str, str]:
    job_ids = [beat.job.job_id for beat in beats if beat.job is not None]
    if not job_ids:
        return {}
    with backend.database.read() as session:
        return names_of_jobs(session, job_ids, caller=caller)


@workers.get("/workers")
@Operation(
    "List the workers",
    "workers",
    answers={200: Answer("All that are connected", (WorkersOut,))},
    refusals=(DatabaseUnavailable,),
)
def list_workers() -> Response:
    """List the workers that are connected: device, memory, state, and the job each of them has.

    With them the room that is left on the disks, as the web host sees it and as each worker does.

    One not heard of for 30 s is no longer listed. `message` says in a sentence why no job can start, if that
    is so. While Redis does not answer nobody knows which workers there are: `workers` is null then.
    """
    return json_answer(read_workers(get_backend(), caller=current_caller()))


@workers.post("/workers/<worker_id>/drain")
@Operation(
    "Drain a worker",
    "workers",
    answers={200: Answer("The worker, draining", (WorkerOut,))},
    refusals=(MalformedRequest, NotFound, WorkerTooOld, RedisUnavailable, DatabaseUnavailable),
)
def drain(worker_id: str) -> Response:
    """Let a worker save a checkpoint, hand its job back and end, as SIGTERM does.

    Another one goes on with the job from there. The worker stays down until somebody starts it. Asking again
    changes nothing; once it has ended it is not found.
    """
    refuse_body()
    return json_answer(drain_and_read(get_backend(), worker_id, caller=current_caller()))


@workers.get("/queue")
@Operation(
    "Read the queue",
    "workers",
    answers={200: Answer("How much waits, and for how long", (QueueStateOut,))},
    refusals=(DatabaseUnavailable,),
)
def show_queue() -> Response:
    """Tell how many jobs wait, how long the first of them has, and how long a new one is likely to.

    Counted are the jobs of all callers. Without Redis the counts are still right, and `workers` is null.
    """
    return json_answer(read_queue(get_backend()))
