"""The views of workers and of the queue."""

from __future__ import annotations

from flask import Blueprint, Response

from shared.errors import DatabaseUnavailable, MalformedRequest, NotFound, RedisUnavailable
from web.api import API_PATH
from web.api.answers import json_answer
from web.api.json_body import refuse_body
from web.api.worker_shapes import QueueStateOut, WorkerOut, WorkersOut
from web.api.worker_view import drain_and_read, read_queue, read_workers
from web.caller import current_caller
from web.docs.operation import Answer, Operation
from web.services import get_services

workers = Blueprint("workers", __name__, url_prefix=API_PATH)


@workers.get("/workers")
@Operation(
    "List the workers",
    "workers",
    answers={200: Answer("All that are connected", (WorkersOut,))},
    refusals=(DatabaseUnavailable,),
)
def list_workers() -> Response:
    """List the workers that are connected: device, memory, state, and the job each of them has.

    One not heard of for 30 s is no longer listed. `message` says in a sentence why no job can start, if that
    is so. While Redis does not answer nobody knows which workers there are: `workers` is null then.
    """
    return json_answer(read_workers(get_services(), caller=current_caller()))


@workers.post("/workers/<worker_id>/drain")
@Operation(
    "Drain a worker",
    "workers",
    answers={200: Answer("The worker, draining", (WorkerOut,))},
    refusals=(MalformedRequest, NotFound, RedisUnavailable, DatabaseUnavailable),
)
def drain(worker_id: str) -> Response:
    """Let a worker save a checkpoint, hand its job back and end, as SIGTERM does.

    Another one goes on with the job from there. The worker stays down until somebody starts it. Asking again
    changes nothing; once it has ended it is not found.
    """
    refuse_body()
    return json_answer(drain_and_read(get_services(), worker_id, caller=current_caller()))


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
    return json_answer(read_queue(get_services()))
