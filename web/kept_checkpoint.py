"""A checkpoint to go on from: there is a row for it, and its file is there."""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import ArtifactMissing, NotReady
from web.models import Job, JobCheckpoint
from web.repository.history import list_checkpoints
from web.services import Services

_MOST_NAMED = 12


def find_kept(services: Services, job: Job, step: int) -> JobCheckpoint:
    """Return the checkpoint of a step of a job.

    Raises:
        NotReady: when there is none, or its file is gone; naming the steps of the others.
        StorageUnavailable: when that cannot be told.
    """
    with services.database.read() as session:
        listed = {checkpoint.step: checkpoint for checkpoint in list_checkpoints(session, job.id)}
    found = listed.pop(step, None)
    if found is None:
        raise NotReady(f"the job is {job.status} and has no checkpoint of step {step}; {name_steps(listed)}")
    try:
        services.storage.stat(found.key)
    except ArtifactMissing:
        raise NotReady(f"the file of the checkpoint of step {step} is gone; {name_steps(listed)}") from None
    return found


def name_steps(steps: Iterable[int]) -> str:
    """Return in words of which steps there are checkpoints; of very many, the first and the last."""
    names = [str(step) for step in sorted(steps)]
    if not names:
        return "no other is kept"
    if len(names) > _MOST_NAMED:
        half = _MOST_NAMED // 2
        names = [*names[:half], "…", *names[-half:]]
    return f"kept are those of step {', '.join(names)}"
