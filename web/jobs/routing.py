"""Routing: which queue of the broker a job waits in, and how much of the queue lies there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.broker import FAST_ROUTE, ROUTES
from shared.errors import FastModelUnavailable
from shared.options import Method, StyleOptions
from shared.redis.workers import WorkerBeat
from shared.status import DEFAULT_PRIORITY

#: The window is never smaller: a node that is started meanwhile finds something, too.
_LEAST_WINDOW = 16
_HANDED_BACK = -1_000_000
#: No priority is this high or this low.
HIGHEST_HANDED_BACK = _HANDED_BACK // 2
#: Its entries are read every few seconds, all of them.
_LARGEST_WINDOW = 2000


#: The lines that jobs wait in, each with the routes in it: what takes a second does not stand behind what
#: takes minutes, and has nodes of its own.
LINES: Sequence[Sequence[str]] = ((FAST_ROUTE,), tuple(route for route in ROUTES if route != FAST_ROUTE))


def line_of(route: str) -> Sequence[str]:
    """Return the routes of the line that jobs of a route wait in."""
    return next(line for line in LINES if route in line)


def is_eligible(beat: WorkerBeat, route: str) -> bool:
    """Whether a worker takes jobs of a route now."""
    return beat.takes_jobs and beat.serves(ROUTES[route])


def why_not_served(beats: Sequence[WorkerBeat], route: str) -> str | None:
    """Return why no worker takes jobs of a route although some take others; None where that is not so."""
    if not any(beat.takes_jobs for beat in beats) or any(is_eligible(beat, route) for beat in beats):
        return None
    needed = " and ".join(f"'{method.value}'" for method in sorted(ROUTES[route]))
    reasons = _reasons(beats, ROUTES[route])
    return f"no worker that is connected serves the method {needed}" + (f" ({reasons})" if reasons else "")


def decide_no_model(options: StyleOptions, beats: Sequence[WorkerBeat] | None) -> FastModelUnavailable | None:
    """Decide whether a new job is refused, since a worker that would take it has no model of `fast`.

    It is not while some worker serves what it needs, whatever that one does now, nor while none says what it
    lacks: another one may come.

    Args:
        options: The job's.
        beats: What the workers say; None while they cannot be asked.
    """
    needed = options.methods
    if Method.FAST not in needed or any(beat.serves(needed) for beat in beats or ()):
        return None
    reasons = _reasons(beats or (), needed)
    if not reasons:
        return None
    name = "method" if options.method == Method.FAST.value else "init"
    detail = f"{name} is 'fast', and no worker that is connected has the model for it: {reasons}"
    return FastModelUnavailable.at(f"/options/{name}", detail, code=FastModelUnavailable.code)


def _reasons(beats: Sequence[WorkerBeat], needed: Collection[Method]) -> str:
    """Return, in words, what keeps workers from these methods that serve, or would, all of them."""
    lacking = [(beat, set(needed) - set(beat.methods)) for beat in beats]
    told: dict[str, list[str]] = {}
    for beat, methods in lacking:
        if methods and all(method in beat.not_served for method in methods):
            for method in sorted(methods):
                told.setdefault(beat.not_served[method], []).append(beat.worker_id)
    return "; ".join(f"{', '.join(sorted(ids))}: {reason}" for reason, ids in sorted(told.items()))


@dataclass(frozen=True)
class Place:
    """Where the message of a job goes, and the numerics that it asks for.

    `pinned_to` are the numerics whose nodes alone see it; without, all nodes of its route do.
    """

    pinned_to: str | None = None
    numerics: str | None = None


ANYWHERE = Place()


def decide_place(
    numerics: str | None,
    beats: Sequence[WorkerBeat],
    route: str,
    *,
    waited: timedelta,
    patience: timedelta,
    failed_at: Collection[str] = (),
) -> Place:
    """Decide where a queued job is carried out: where it was begun, as long as such a node lives.

    One that has failed it is none: another kind is to try, before the job is blamed.

    Args:
        numerics: What the checkpoint was computed with that it goes on from; None where it begins anew, or
            where nobody knows, as of older releases.
        beats: What the nodes say.
        route: The job's.
        waited: Since it was queued, or since such a node was seen last.
        patience: How long it waits for one to come.
        failed_at: The nodes that handed it back because they, or it, may be at fault.
    """
    if numerics is None:
        return ANYWHERE
    eligible = [beat for beat in beats if is_eligible(beat, route)]
    alike = [beat for beat in eligible if beat.numerics.get(Method.GATYS) == numerics]
    if alike and all(beat.worker_id in failed_at for beat in alike):
        return ANYWHERE
    if alike and len(alike) == len(eligible):
        # Nobody else would take it; should one come meanwhile, that one leaves it.
        return Place(None, numerics)
    if alike or waited < patience:
        return Place(numerics, numerics)
    return ANYWHERE


def queue_rank(priority: int, *, is_handed_back: bool = False) -> int:
    """Return the rank of a job in the queue, lower goes first: what was handed back, then by priority.

    Handed back are jobs that a worker had begun, and gave back or was lost with. What has the default
    priority ranks 0, as all jobs did before there were any others.
    """
    return (_HANDED_BACK if is_handed_back else 0) + DEFAULT_PRIORITY - priority


def priority_of(rank: int) -> int:
    """Return the priority of a job with this rank, `queue_rank` the other way round.

    That of one that others wait for is theirs, where it is higher than its own.
    """
    return DEFAULT_PRIORITY - rank + (_HANDED_BACK if is_handed_back(rank) else 0)


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
