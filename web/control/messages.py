"""Messages: what a worker is told of a job, from the job's row."""

from __future__ import annotations

from pydantic import ValidationError

from shared.errors import AtelierError, JobUnreadable
from shared.options import Method, read_stored_options
from shared.protocol import METHODS_PROTOCOL, NUMERICS_PROTOCOL, InputPicture, JobMessage, Origin
from shared.storage.layout import asset_key
from web.db.models import Job


def message_for(job: Job, *, numerics: str | None = None) -> JobMessage:
    """Return the message for a job's current attempt; `numerics` is what alone it is to be gone on with."""
    options = read_stored_options(job.options)
    # An older node, which does not come to its route either, would carry it out by the other method.
    least_protocol = METHODS_PROTOCOL if Method.FAST in options.methods else 1
    return JobMessage(
        job_id=job.id,
        attempt=job.attempt,
        content=InputPicture(key=asset_key(job.content.sha256), sha256=job.content.sha256),
        style=InputPicture(key=asset_key(job.style.sha256), sha256=job.style.sha256),
        options=options,
        checkpoints_since=job.checkpoints_since,
        origin=_origin(job),
        run_timeout_seconds=job.run_timeout_seconds,
        # So would one that does not know what it is asked for.
        least_protocol=least_protocol if numerics is None else NUMERICS_PROTOCOL,
        numerics=numerics,
        traceparent=job.traceparent,
    )


def _origin(job: Job) -> Origin | None:
    if job.origin is None:
        return None
    return Origin(key=job.origin["key"], sha256=job.origin["sha256"], step=job.origin["step"])


def try_message_for(job: Job, *, numerics: str | None = None) -> JobMessage | JobUnreadable:
    """Return the message for a job's current attempt, or what is wrong with its row."""
    try:
        # Not in the message; but nothing can be sent to its place by another.
        if not isinstance(job.queue_rank, int):
            raise TypeError(f"queue_rank is {job.queue_rank!r}")
        return message_for(job, numerics=numerics)
    except (AtelierError, ValidationError, TypeError, KeyError, ValueError, AttributeError) as error:
        detail = error.detail if isinstance(error, AtelierError) else f"{type(error).__name__}: {error}"
        return JobUnreadable(f"what is stored of the job cannot be read: {detail}")
