"""Routing: which queue of the broker a job waits in, and how much of the queue lies there."""

from __future__ import annotations

from collections.abc import Sequence

from shared.broker import DEFAULT_ROUTE
from web.db.models import Job

#: The window is never smaller: a node that is started meanwhile finds something, too.
_LEAST_WINDOW = 16
_HANDED_BACK = -1_000_000
#: No priority is this high or this low.
HIGHEST_HANDED_BACK = _HANDED_BACK // 2
#: Its entries are read every few seconds, all of them.
_LARGEST_WINDOW = 2000


def route_of(job: Job) -> str:  # noqa: ARG001 - every job can be done by every node, for now
    """Return the route of a job: which nodes may take it."""
    return DEFAULT_ROUTE


def all_routes() -> Sequence[str]:
    """Return every route that a job may have."""
    return (DEFAULT_ROUTE,)


def queue_rank(priority: int, *, is_handed_back: bool = False) -> int:
    """Return the rank of a job in the queue, lower goes first: what was handed back, then by priority.

    Handed back are jobs that a worker had begun, and gave back or was lost with.
    """
    return (_HANDED_BACK if is_handed_back else 0) - priority


def is_handed_back(rank: int) -> bool:
    """Whether a job of this rank was handed back."""
    return rank <= HIGHEST_HANDED_BACK


def window_size(workers: int, *, jobs_each: int) -> int:
    """Return how many messages lie in the broker at most; those of handed-back jobs come on top.

    Args:
        workers: The nodes that take jobs now.
        jobs_each: For how many jobs each node is to find work while control is down.
    """
    return max(_LEAST_WINDOW, min(workers * jobs_each, _LARGEST_WINDOW))
