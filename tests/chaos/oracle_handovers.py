"""What one attempt leaves to the next, by the histories of the jobs and what the engines wrote down.

- A checkpoint is stored before it is told of: who goes on later begins at its step, or further on.
- A node that was asked to end has stored all that it made: who goes on makes no step of it again.

A job one of whose checkpoints was damaged on purpose is not judged, and nothing from the first restore on:
the engines' notes tell of more than what a backup brings back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.step_log import EngineRun
from web.db.models import Job, JobEvent
from web.jobs.states import WORKER_DRAINED


@dataclass(frozen=True)
class _Claim:
    """A claim in a job's history: who has taken which attempt, and the step that it has gone on from."""

    attempt: int
    node: str
    resumed_step: int

    def is_of(self, run: EngineRun) -> bool:
        """Whether it may be the claim of a run: a child that died in one has begun another."""
        return (run.attempt, run.node) == (self.attempt, self.node)


@dataclass(frozen=True)
class _Handover:
    """What was known when a claim came: the one before it, the newest checkpoint, and whether it drained."""

    before: _Claim
    after: _Claim
    told_step: int
    is_drained: bool


def find_breaches(evidence: Evidence) -> list[str]:
    """Return every breach as a sentence."""
    restored_at = min(
        (fault.at for fault in evidence.injections if fault.kind.startswith("restore")), default=float("inf")
    )
    breaches = []
    for job_id, job in evidence.jobs.items():
        if any(key.startswith(f"jobs/{job_id}/") for key in evidence.damaged):
            continue
        runs = [run for run in evidence.runs.get(job_id, ()) if run.began_at < restored_at]
        for handover in _handovers(job, evidence.events[job_id]):
            breaches += [f"job {job_id}: {fault}" for fault in _judge(handover, runs)]
    return breaches


def _judge(handover: _Handover, runs: list[EngineRun]) -> Iterator[str]:
    after = handover.after
    begun = [run.began_at for run in runs if after.is_of(run) and run.resumed_step == after.resumed_step]
    if not begun:
        return  # its claim alone was told: what it lacked, if anything, is not known
    words = f"attempt {after.attempt} on {after.node} began at step {after.resumed_step}"
    if after.resumed_step < handover.told_step:
        yield f"{words}, and a checkpoint of step {handover.told_step} had been told of"
    earlier = [run for run in runs if handover.before.is_of(run) and run.began_at < min(begun)]
    made = max(earlier[-1].made, default=0) if earlier else 0
    if handover.is_drained and after.resumed_step < made:
        yield f"{words}, and {handover.before.node} was drained at step {made}"


def _handovers(job: Job, events: list[JobEvent]) -> Iterator[_Handover]:
    """Yield each claim that goes on with what an earlier one left; not those that begin anew."""
    before: _Claim | None = None
    told_step, is_drained = 0, False
    for event in events:
        if event.type == "checkpoint":
            told_step = max(told_step, event.data["step"])
        elif event.type == "status":
            is_drained = is_drained or event.data["status_reason"] == WORKER_DRAINED
        elif event.type == "attempt":
            claim = _claim(event.data)
            if before is not None and _is_same_era(job, before, claim):
                yield _Handover(before, claim, told_step, is_drained)
            elif before is not None:
                told_step = 0
            before, is_drained = claim, False


def _is_same_era(job: Job, before: _Claim, after: _Claim) -> bool:
    return (before.attempt >= job.checkpoints_since) == (after.attempt >= job.checkpoints_since)


def _claim(data: dict[str, Any]) -> _Claim:
    return _Claim(data["number"], str(data["worker_id"]), data["resumed_from_step"] or 0)
