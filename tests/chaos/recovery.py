"""How long jobs took to recover from the loss of their workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.evidence import Evidence
from tests.chaos.scene import Loss

#: What is promised on top of one lease.
MARGIN_SECONDS = 5.0


@dataclass(frozen=True)
class Recovery:
    """A job that lost its worker: by which fault, and after how many seconds it was due or begun again.

    `first_step` is when its next step was made, which also waits for a free worker. It is disturbed when
    another fault held up Redis or control meanwhile: the promise is not about two faults at once.
    """

    kind: str
    loss: Loss
    due: float
    first_step: float | None
    is_disturbed: bool


def recoveries(evidence: Evidence) -> Iterator[Recovery]:
    """Yield what became of each lease that was taken away; those whose jobs were over anyway are left out."""
    for fault in evidence.injections:
        for loss in fault.losses:
            due_at = _due_at(evidence, loss)
            if due_at is None:
                continue
            later = [
                at for run in evidence.runs.get(loss.job_id, ()) if run.began_at > loss.at
                for at in run.made.values() if at >= due_at
            ]  # fmt: skip
            yield Recovery(
                kind=fault.kind,
                loss=loss,
                due=due_at - loss.at,
                first_step=min(later) - loss.at if later else None,
                is_disturbed=bool([f for f in evidence.disturbances(loss.at, due_at) if f is not fault]),
            )


def find_late(evidence: Evidence, found: list[Recovery]) -> list[str]:
    """Return those who recovered later than promised."""
    allowed = evidence.pace.lease + MARGIN_SECONDS
    return [
        f"job {recovery.loss.job_id}: due again {recovery.due:.1f} s after {recovery.kind} of "
        f"{recovery.loss.node}; promised are {allowed:g} s"
        for recovery in found
        if not recovery.is_disturbed and recovery.due > allowed
    ]


def _due_at(evidence: Evidence, loss: Loss) -> float | None:
    """Return when control made the job due again, or the same attempt was begun anew, whichever was first.

    One whose node is killed before it tells of its claim is still queued: its message is missed.
    """
    rescued = [
        rescue.at
        for rescue in (*evidence.rescues, *evidence.made_due)
        if (rescue.job_id, rescue.attempt) == (loss.job_id, loss.attempt) and rescue.at > loss.at
    ]
    begun = [
        run.began_at
        for run in evidence.runs.get(loss.job_id, ())
        if run.attempt == loss.attempt and run.began_at > loss.at
    ]
    return min([*rescued, *begun], default=None)
