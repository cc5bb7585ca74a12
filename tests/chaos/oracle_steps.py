"""What may be computed twice, and by whom; from what the engines wrote down.

- A run goes on from the newest checkpoint: of the steps made before it began, it makes at most
  `checkpoint_every` again, and as many more if the checkpoint of those was still being written; as many more
  for each checkpoint of the job that was damaged on purpose.
- A run begins beside another node's only when that one's lease was lost: control rescued it, or Redis was
  disturbed. The other one may then go on only until it learns of that: one renewal, counted from the moment
  it is awake, and what a renewal may take on a busy machine.
- A draft is not begun any more once another one has taken its place.
- A job that was asked to stop while it ran stops at the next step at which its worker hears of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.evidence import Evidence
from tests.chaos.load import CHECKPOINT_EVERY
from tests.chaos.step_log import EngineRun
from web.db.models import Job

#: What a renewal may take beside the time until it is due; and a look at a flag, which every step takes.
_RENEWAL_SECONDS = 2.0
_FLAG_SECONDS = 0.5
_IN_FLIGHT_STEPS = 2
_IN_FLIGHT_CHECKPOINTS = 1


@dataclass
class StepCount:
    """How many steps were made in a run, and again; `breaches` are sentences."""

    made: int = 0
    again: int = 0
    #: The most that one resumed run made again.
    again_at_most: int = 0
    breaches: list[str] = field(default_factory=list)


def count_steps(evidence: Evidence) -> StepCount:
    """Count all steps, and find those that should not have been made."""
    count, step_seconds = StepCount(), evidence.step_seconds()
    removed = evidence.removed_drafts()
    for job_id, runs in evidence.runs.items():
        count.made += sum(len(run.made) for run in runs)
        job = evidence.jobs.get(job_id)
        if job_id in removed:
            continue
        if job is None:
            count.breaches.append(f"job {job_id}: steps were made of it, and nobody knows it")
            continue
        for since in ([run for run in runs if run.attempt < job.checkpoints_since],
                      [run for run in runs if run.attempt >= job.checkpoints_since]):  # fmt: skip
            distinct = {step for run in since for step in run.made}
            count.again += sum(len(run.made) for run in since) - len(distinct)
            faults = [*_of_resumes(evidence, job, since, count), *_of_overlaps(evidence, since, step_seconds)]
            count.breaches += [f"job {job_id}: {fault}" for fault in faults]
    count.breaches += [*_of_flags(evidence, step_seconds), *_of_replaced(evidence)]
    return count


def _of_resumes(evidence: Evidence, job: Job, runs: list[EngineRun], count: StepCount) -> Iterator[str]:
    damaged = sum(key.startswith(f"jobs/{job.id}/") for key in evidence.damaged)
    allowed = CHECKPOINT_EVERY * (1 + _IN_FLIGHT_CHECKPOINTS + damaged)
    for run in runs:
        before = [
            step
            for other in runs
            for step, at in other.made.items()
            if other is not run and at < run.began_at
        ]
        again = max(before, default=0) - run.resumed_step
        if not damaged:
            count.again_at_most = max(count.again_at_most, again)
        if again > allowed:
            yield (
                f"attempt {run.attempt} on {run.node} went on from step {run.resumed_step}, "
                f"{again} steps back; allowed are {allowed}"
            )


def _of_overlaps(evidence: Evidence, runs: list[EngineRun], step_seconds: float) -> Iterator[str]:
    for number, run in enumerate(runs):
        for old in runs[:number]:
            after = [at for at in old.made.values() if at > run.began_at]
            if old.node == run.node or len(after) < _IN_FLIGHT_STEPS:
                continue
            if not _was_lost(evidence, old, run.began_at):
                yield f"attempt {run.attempt} began on {run.node} while {old.node} held its lease"
                continue
            awake = max([run.began_at, *_wakings(evidence, old.node, after[-1])])
            too_late = [at for at in after if at > awake]
            seconds = evidence.pace.renew + _RENEWAL_SECONDS + evidence.disturbed_seconds(awake, after[-1])
            allowed = _IN_FLIGHT_STEPS + seconds / step_seconds
            if len(too_late) > allowed:
                yield (
                    f"{old.node} made {len(too_late)} steps of attempt {old.attempt} after {run.node} had "
                    f"begun attempt {run.attempt}; allowed are {allowed:.0f}"
                )


def _was_lost(evidence: Evidence, old: EngineRun, moment: float) -> bool:
    """Whether a run's lease can have been lost before a moment: to the rescuer, or because Redis lost it."""
    rescued = any(
        rescue.job_id == old.job_id and rescue.attempt >= old.attempt and rescue.at <= moment
        for rescue in evidence.rescues
    )
    return rescued or bool(evidence.disturbances(moment - evidence.pace.lease, moment))


def _wakings(evidence: Evidence, node: str, before: float) -> list[float]:
    return [
        fault.until
        for fault in evidence.injections
        if fault.kind in ("make_zombie", "make_light_zombie") and fault.node == node and fault.until < before
    ]


def _of_flags(evidence: Evidence, step_seconds: float) -> Iterator[str]:
    for job in evidence.submitted:
        for what, answer in job.asked:
            is_stopping = answer.data.get("status") == "canceling" or (
                answer.data.get("status_reason") == "pausing"
            )
            if what not in ("cancel", "pause") or not answer.is_done or not is_stopping:
                continue
            attempt = answer.data["attempt"]["number"]
            after = [
                at
                for run in evidence.runs.get(job.job_id, ())
                if run.attempt == attempt
                for at in run.made.values()
                if at > answer.at
            ]
            if not after:
                continue
            seconds = _FLAG_SECONDS + evidence.disturbed_seconds(answer.at, max(after))
            allowed = _IN_FLIGHT_STEPS + seconds / step_seconds
            if len(after) > allowed:
                yield (
                    f"job {job.job_id}: {len(after)} steps were made after it was asked to {what}; "
                    f"allowed are {allowed:.0f}"
                )


def _of_replaced(evidence: Evidence) -> Iterator[str]:
    for job in evidence.submitted:
        # Where the answer was lost, web may have died before it canceled the other one.
        if not job.replaces or job.taken is None or job.taken.unheard:
            continue
        for run in evidence.runs.get(job.replaces, ()):
            allowed = _RENEWAL_SECONDS + evidence.disturbed_seconds(job.taken.at, run.began_at)
            if run.began_at - job.taken.at > allowed:
                yield (
                    f"job {job.replaces}: it was begun {run.began_at - job.taken.at:.1f} s after it was "
                    f"replaced; allowed are {allowed:.1f} s"
                )
