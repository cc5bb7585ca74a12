"""The state machine of a job: one table. Every write of a status goes through it."""

from __future__ import annotations

from enum import StrEnum

from shared.errors import InvalidState
from shared.status import JobStatus


class Trigger(StrEnum):
    """What can happen to a job after it was submitted."""

    #: A worker has claimed the attempt, or has claimed it again after a crash of its child.
    CLAIMED = "claimed"
    #: The attempt's result is committed.
    SUCCEEDED = "succeeded"
    #: The attempt ended with an error that another attempt would not fix.
    FAILED = "failed"
    #: The worker stopped because it was asked to cancel.
    CANCELED = "canceled"
    #: The worker is shutting down and released the attempt.
    RELEASED = "released"
    #: The worker saved a checkpoint and stopped because it was asked to pause.
    PAUSED = "paused"
    #: A caller asked to cancel.
    CANCEL = "cancel"
    #: A caller asked to pause.
    PAUSE = "pause"
    #: A caller asked to resume after a pause.
    RESUME = "resume"
    #: A caller asked to try again.
    RETRY = "retry"
    #: A caller asked for more steps.
    EXTEND = "extend"
    #: No worker claimed the job before its queue deadline.
    EXPIRE = "expire"
    #: No worker holds the lease, and attempts are left.
    LEASE_LOST = "lease_lost"
    #: No worker holds the lease, and no attempts are left.
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"


_QUEUED, _RUNNING, _CANCELING = JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELING
_SUCCEEDED, _FAILED, _CANCELED = JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED
_PAUSED, _EXPIRED = JobStatus.PAUSED, JobStatus.EXPIRED

#: Why a job is at its status, where that is not plain: a running one whose worker is asked to pause,
PAUSING = "pausing"
#: a succeeded one that was given the result of another,
REUSED = "reused"
#: a queued one whose worker was shut down, could not go on, or was lost; or that ran when the backup was made
#: that was put back.
WORKER_DRAINED = "worker_drained"
WORKER_UNFIT = "worker_unfit"
WORKER_LOST = "worker_lost"
RESTORED = "restored"
#: a running one whose worker says that it is done, and whose result is not to be seen in the storage.
RESULT_MISSING = "result_missing"

TRANSITIONS: dict[tuple[JobStatus, Trigger], JobStatus] = {
    (_QUEUED, Trigger.CLAIMED): _RUNNING,
    (_QUEUED, Trigger.CANCEL): _CANCELED,
    (_QUEUED, Trigger.PAUSE): _PAUSED,
    (_QUEUED, Trigger.EXPIRE): _EXPIRED,
    # The report of the claim may be lost while that of the end arrives.
    (_QUEUED, Trigger.SUCCEEDED): _SUCCEEDED,
    (_QUEUED, Trigger.FAILED): _FAILED,
    # A node that cannot read what the job goes on from has not begun it.
    (_QUEUED, Trigger.RELEASED): _QUEUED,
    (_RUNNING, Trigger.CLAIMED): _RUNNING,
    (_RUNNING, Trigger.SUCCEEDED): _SUCCEEDED,
    (_RUNNING, Trigger.FAILED): _FAILED,
    (_RUNNING, Trigger.RELEASED): _QUEUED,
    (_RUNNING, Trigger.CANCEL): _CANCELING,
    # With the reason `pausing`, until the worker has seen it.
    (_RUNNING, Trigger.PAUSE): _RUNNING,
    (_RUNNING, Trigger.PAUSED): _PAUSED,
    (_RUNNING, Trigger.LEASE_LOST): _QUEUED,
    (_RUNNING, Trigger.ATTEMPTS_EXHAUSTED): _FAILED,
    (_CANCELING, Trigger.CLAIMED): _CANCELING,
    (_CANCELING, Trigger.CANCEL): _CANCELING,
    (_CANCELING, Trigger.CANCELED): _CANCELED,
    # The worker may finish before it sees the flag; a finished picture is kept.
    (_CANCELING, Trigger.SUCCEEDED): _SUCCEEDED,
    (_CANCELING, Trigger.FAILED): _FAILED,
    (_CANCELING, Trigger.RELEASED): _CANCELED,
    (_CANCELING, Trigger.PAUSED): _CANCELED,
    (_CANCELING, Trigger.LEASE_LOST): _CANCELED,
    (_CANCELING, Trigger.ATTEMPTS_EXHAUSTED): _CANCELED,
    (_PAUSED, Trigger.PAUSE): _PAUSED,
    (_PAUSED, Trigger.RESUME): _QUEUED,
    (_PAUSED, Trigger.CANCEL): _CANCELED,
    (_CANCELED, Trigger.CANCEL): _CANCELED,
    (_CANCELED, Trigger.RETRY): _QUEUED,
    (_FAILED, Trigger.RETRY): _QUEUED,
    (_EXPIRED, Trigger.RETRY): _QUEUED,
    (_SUCCEEDED, Trigger.EXTEND): _QUEUED,
}


#: The requests that are triggers. A fork changes nothing in its parent, so it is not one.
REQUESTS = (Trigger.CANCEL, Trigger.PAUSE, Trigger.RESUME, Trigger.RETRY, Trigger.EXTEND)
_NEED_CHECKPOINTS = ("extend", "fork")
#: The statuses in which nobody works on a job yet, or for now: its priority, name and labels can be changed.
CHANGEABLE = (_QUEUED, _PAUSED)


def is_legal(status: JobStatus, trigger: Trigger) -> bool:
    """Whether the table has a row for this trigger in this status."""
    return (status, trigger) in TRANSITIONS


def allowed_requests(status: JobStatus, *, has_checkpoints: bool = True) -> list[str]:
    """Return the requests that are allowed in this status, by their names in API and command line.

    Without checkpoints there is nothing to extend or to fork.
    """
    asked = [trigger.value for trigger in REQUESTS if is_legal(status, trigger)]
    change = ["change"] if status in CHANGEABLE else []
    allowed = [*asked, *change, "fork", *(["delete"] if status.is_final else [])]
    return [name for name in allowed if has_checkpoints or name not in _NEED_CHECKPOINTS]


def next_status(status: JobStatus, trigger: Trigger, *, has_checkpoints: bool = True) -> JobStatus:
    """Return the status a trigger leads to; whether there are checkpoints matters for what is said alone.

    Raises:
        InvalidState: naming the statuses in which the trigger is allowed, and what is allowed in this one.
    """
    try:
        return TRANSITIONS[status, trigger]
    except KeyError:
        allowed = ", ".join(sorted({start for start, known in TRANSITIONS if known == trigger}))
        now = ", ".join(allowed_requests(status, has_checkpoints=has_checkpoints))
        raise InvalidState(
            f"the job is {status}; '{trigger}' is allowed only when it is {allowed or 'never'}; "
            f"allowed now: {now or 'nothing'}"
        ) from None
