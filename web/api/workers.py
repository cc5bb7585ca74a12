"""The views of workers and of the queue."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, MalformedRequest, NotFound, RedisUnavailable
from web.api import API_PATH
from web.api.answers import json_answer
from web.api.json_body import refuse_body
from web.api.worker_json import queue_to_json, worker_to_json, workers_to_json
from web.api.worker_shapes import QueueStateOut, WorkerOut, WorkersOut
from web.docs.operation import Answer, Operation
from web.repository.jobs import recent_run_seconds
from web.repository.queue import count_queue
from web.services import get_services
from web.worker_actions import drain_worker

workers = Blueprint("workers", __name__, url_prefix=API_PATH)


@workers.get("/workers")
@Operation("List the workers", "workers", answers={200: Answer("All that are connected", (WorkersOut,))})
def list_workers() -> Response:
    """List the workers that are connected: device, memory, state, and the job each of them has.

    One not heard of for 30 s is no longer listed. `message` says in a sentence why no job can start, if that
    is so. While Redis does not answer nobody knows which workers there are: `workers` is null then.
    """
    return json_answer(workers_to_json(get_services().live.workers(), now=utc_now()))


@workers.post("/workers/<worker_id>/drain")
@Operation(
    "Drain a worker",
    "workers",
    answers={200: Answer("The worker, draining", (WorkerOut,))},
    refusals=(MalformedRequest, NotFound, RedisUnavailable),
)
def drain(worker_id: str) -> Response:
    """Let a worker save a checkpoint, hand its job back and end, as SIGTERM does.

    Another one goes on with the job from there. The worker stays down until somebody starts it. Asking again
    changes nothing; once it has ended it is not found.
    """
    refuse_body()
    return json_answer(worker_to_json(drain_worker(get_services(), worker_id), now=utc_now()))


@workers.get("/queue")
@Operation(
    "Read the queue",
    "workers",
    answers={200: Answer("How much waits, and for how long", (QueueStateOut,))},
    refusals=(DatabaseUnavailable,),
)
def read_queue() -> Response:
    """Tell how many jobs wait, how long the first of them has, and how long a new one is likely to.

    Counted are the jobs of all callers. Without Redis the counts are still right, and `workers` is null.
    """
    services = get_services()
    with services.database.read() as session:
        counts, run_seconds = count_queue(session), recent_run_seconds(session)
    return json_answer(queue_to_json(counts, services.live.workers(), run_seconds, now=utc_now()))
