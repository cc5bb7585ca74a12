"""The statuses, kinds and priorities of a job, as the database, the API, the logs and the pages have them."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job is; a past participle that is final says how it ended."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self in FINAL_STATUSES


FINAL_STATUSES = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED})


class JobKind(StrEnum):
    """What a job is for."""

    #: A result that somebody wants to keep.
    JOB = "job"
    #: A look at what two pictures give. Lists, counts and estimates leave it out unless asked for it.
    DRAFT = "draft"


#: What a job has that asks for none; 0 is what can wait longest, 9 what goes first.
DEFAULT_PRIORITY = 5
HIGHEST_PRIORITY = 9
