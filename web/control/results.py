"""Committed results as control itself sees them: the marker of an attempt, and the files it names.

A report says what a worker has written; only the storage says what is there. A worker without its mount
writes to its own disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from shared.errors import ArtifactCorrupt, ArtifactMissing, JobUnreadable, StorageUnavailable
from shared.logs import get_logger
from shared.protocol import EventType, ResultMarker, WorkerEvent, message_id, read_marker
from shared.storage.layout import job_folder, marker_key
from shared.storage.verify import file_fault
from web.backend import Backend
from web.control.messages import try_message_for
from web.db.models import Job

_log = get_logger(__name__)
_MARKER = re.compile(r"jobs/[^/]+/attempt-(\d{1,9})/result\.json")


def find_result(
    backend: Backend, job: Job, attempt: int, *, is_reported: bool = False
) -> ResultMarker | None:
    """Return the result of an attempt of a job, when its marker and all that it names are there.

    Of what a worker has just reported sizes are compared, of anything else all bytes. A marker of something
    else (another timeline, after a backup was put back) in the place of the job's own attempt is set aside.
    A failure that concerns these files alone means that they are not there for now.

    Raises:
        IdentityMissing, IdentityWrong, StorageUnavailable: when the whole storage cannot be used.
    """
    key = marker_key(job.id, attempt)
    message = try_message_for(job)
    if isinstance(message, JobUnreadable):
        _log.error("result_not_compared", job_id=job.id, attempt=attempt, reason=message.detail)
        return None
    try:
        data = backend.storage.read(key)
        mismatch: str | None
        try:
            marker = read_marker(data)
            mismatch = marker.mismatch(message.model_copy(update={"attempt": attempt}))
            if mismatch is None and not marker.outputs:
                mismatch = "it names no file"
        except ArtifactCorrupt as error:
            mismatch = error.detail
        if mismatch is not None:
            _log.error("marker_is_no_result", job_id=job.id, attempt=attempt, reason=mismatch)
            if attempt == job.attempt:
                backend.storage.set_aside(key, sha256=hashlib.sha256(data).hexdigest())
            return None
        for output in marker.outputs:
            sha256 = None if is_reported else output.sha256
            fault = file_fault(backend.storage, output.key, size_bytes=output.size_bytes, sha256=sha256)
            if fault is not None:
                _log.error("marker_not_believed", job_id=job.id, attempt=attempt, reason=fault)
                return None
    except ArtifactMissing:
        return None
    except StorageUnavailable as error:
        backend.check_storage()
        _log.error("result_unreadable", job_id=job.id, attempt=attempt, reason=error.detail)
        return None
    return marker


def find_later_result(backend: Backend, job: Job) -> tuple[int, ResultMarker] | None:
    """Return the newest result at the job's attempt or above, with its attempt.

    A row is behind its own files when the database was put back as it had been.

    Raises:
        IdentityMissing, IdentityWrong, StorageUnavailable: when the whole storage cannot be used.
    """
    try:
        attempts = sorted(_attempts_with_marker(backend.storage.list(job_folder(job.id))), reverse=True)
    except (ArtifactMissing, StorageUnavailable) as error:
        backend.check_storage()
        _log.error("results_unreadable", job_id=job.id, reason=error.detail)
        return None
    for attempt in attempts:
        if attempt >= job.attempt and (marker := find_result(backend, job, attempt)) is not None:
            return attempt, marker
    return None


def success_event(job: Job, marker: ResultMarker) -> WorkerEvent:
    """Return the report that belongs to a marker: the same that its worker makes."""
    return WorkerEvent(
        event_id=f"{message_id(job.id, marker.attempt)}:{EventType.SUCCEEDED}",
        type=EventType.SUCCEEDED,
        job_id=job.id,
        attempt=marker.attempt,
        at=marker.completed_at,
        data=marker.model_dump(mode="json"),
        traceparent=job.traceparent,
    )


def _attempts_with_marker(keys: Iterable[str]) -> list[int]:
    return [int(match[1]) for key in keys if (match := _MARKER.fullmatch(key))]
