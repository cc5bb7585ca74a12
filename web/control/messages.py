"""Messages: what a worker is told of a job, from the job's row."""

from __future__ import annotations

from pydantic import ValidationError

from shared.errors import AtelierError, JobUnreadable
from shared.options import Method, read_stored_options
from shared.protocol import METHODS_PROTOCOL, InputPicture, JobMessage, Origin
from shared.storage.layout import asset_key
from web.db.models import Job


def message_for(job: Job) -> JobMessage:
    """Return the message for a job's current attempt."""
    options = read_stored_options(job.options)
    return JobMessage(
        job_id=job.id,
        attempt=job.attempt,
        content=InputPicture(key=asset_key(job.content.sha256), sha256=job.content.sha256),
        style=InputPicture(key=asset_key(job.style.sha256), sha256=job.style.sha256),
        options=options,
        checkpoints_since=job.checkpoints_since,
        origin=_origin(job),
        run_timeout_seconds=job.run_timeout_seconds,
        # An older node, which does not come to its route either, would carry it out by the other method.
        least_protocol=METHODS_PROTOCOL if Method.FAST in options.methods else 1,
    )


def _origin(job: Job) -> Origin | None:
    if job.origin is None:
        return None
    return Origin(key=job.origin["key"], sha256=job.origin["sha256"], step=job.origin["step"])


def try_message_for(job: Job) -> JobMessage | JobUnreadable:
    """Return the message for a job's current attempt, or what is wrong with its row."""
    try:
        return message_for(job)
    except (AtelierError, ValidationError, TypeError, KeyError, ValueError, AttributeError) as error:
        detail = error.detail if isinstance(error, AtelierError) else f"{type(error).__name__}: {error}"
        return JobUnreadable(f"what is stored of the job cannot be read: {detail}")
