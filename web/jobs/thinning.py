"""Thinning: of many checkpoints of a job only some keep their states, so that these do not fill the disk.

A state is all that a job needs to go on from a step: 36 bytes a pixel, often a hundred times its picture. The
row of a checkpoint whose state is given up names no file for it any more; picture and losses stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from web.db.models import Job, JobCheckpoint

#: What a row has in place of the key of a state that is given up.
NO_STATE = ""
#: These stay, whatever they take: a worker passes over a damaged one, and goes on from the one before.
_LAST = 2


def decide_given_up(
    steps: Iterable[int], *, most: int, begun_at: int = 0, needed: Collection[int] = ()
) -> list[int]:
    """Decide which checkpoints of a job give up their states, so that `most` keep one.

    Again and again that one goes without which the gap between its neighbours is the smallest. So those that
    stay are spread over all steps, however many come later, and nobody has to know how many will.

    Args:
        steps: Those that have a state.
        most: How many may have one; the last two and those that are needed stay beyond that.
        begun_at: The step that the job has begun with.
        needed: Steps whose states something else needs.
    """
    kept, given_up = sorted(steps), []
    staying = {*kept[-_LAST:], *needed}
    while len(kept) > most:
        gaps = [
            (after - before, step)
            for before, step, after in zip([begun_at, *kept], kept, kept[1:], strict=False)
            if step not in staying
        ]
        if not gaps:
            break
        _, step = min(gaps)
        kept.remove(step)
        given_up.append(step)
    return given_up


def thin_states(session: Session, job: Job, *, state_bytes: int, budget_bytes: int) -> Sequence[str]:
    """Let checkpoints of a job give up their states beyond a budget; return the keys of the files.

    All states of a job are of one size, `state_bytes`: that of its pictures. The files are to be removed once
    this is committed; whoever has begun to copy one, for a fork, is to be let finish.
    """
    if state_bytes == 0:
        return ()
    has_state = JobCheckpoint.job_id == job.id, JobCheckpoint.key != NO_STATE
    found = session.execute(select(JobCheckpoint.step, JobCheckpoint.key).where(*has_state))
    keys = {step: key for step, key in found}  # noqa: C416 - rows are no pairs to a type checker
    if len(keys) * state_bytes <= budget_bytes:
        return ()
    origin = job.origin or {}
    # An extended job begins with a checkpoint of its own, which has others before it.
    first = origin.get("fork") if origin.get("job_id") == job.id else origin
    given_up = decide_given_up(
        keys,
        most=budget_bytes // state_bytes,
        begun_at=int((first or {}).get("step", 0)),
        needed={step for step, key in keys.items() if key == origin.get("key")},
    )
    if given_up:
        these = (*has_state, JobCheckpoint.step.in_(given_up))
        without = update(JobCheckpoint).where(*these).values(key=NO_STATE)
        session.execute(without.execution_options(synchronize_session=False))
    return [keys[step] for step in given_up]


def names_state(session: Session, job_id: str, key: str) -> bool:
    """Whether a row of a job names a file as the state that somebody may go on from."""
    named = select(JobCheckpoint.step).where(JobCheckpoint.job_id == job_id, JobCheckpoint.key == key)
    if session.scalar(named.limit(1)) is not None:
        return True
    origin = session.scalar(select(Job.origin).where(Job.id == job_id))
    while origin:
        if origin.get("key") == key:
            return True
        origin = origin.get("fork")
    return False
