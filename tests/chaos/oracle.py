"""The oracle: what must be true of a run when it is over; each breach is a sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import (
    oracle_handovers,
    oracle_history,
    oracle_results,
    oracle_steps,
    oracle_storage,
    oracle_told,
    recovery,
)
from tests.chaos.evidence import Evidence
from tests.chaos.lone_run import LoneRuns
from tests.support.matching_rows import find_mismatches


@dataclass
class Judgement:
    """The breaches, and what was counted on the way to them."""

    breaches: list[str]
    steps: oracle_steps.StepCount
    recoveries: list[recovery.Recovery]
    lone_runs: int
    compared: int
    pruned: Counter[str] = field(default_factory=Counter)


def judge(evidence: Evidence, folder: Path) -> Judgement:
    """Judge a run; `folder` is for the lone runs. Collects the garbage of the run's store."""
    steps = oracle_steps.count_steps(evidence)
    recovered = list(recovery.recoveries(evidence))
    breaches = [f"Redis still holds {what}" for what in evidence.left_in_redis]
    breaches += [
        f"{node} gave a job back as if its engine had failed: {text}" for node, text in evidence.faulted
    ]
    breaches += oracle_history.find_breaches(evidence) + steps.breaches
    breaches += oracle_handovers.find_breaches(evidence)
    breaches += recovery.find_late(evidence, recovered)
    breaches += oracle_told.find_breaches(evidence)
    with LoneRuns(evidence, folder) as lone:
        breaches += oracle_results.find_breaches(evidence, lone)
        count = lone.count
    checkpoints = [one for kept in evidence.checkpoints.values() for one in kept]
    breaches += find_mismatches(
        evidence.jobs.values(), checkpoints, evidence.storage, damaged=evidence.damaged
    )
    compared = sum(job.status == "succeeded" for job in evidence.jobs.values())
    pruned: Counter[str] = Counter()
    breaches += oracle_storage.find_breaches(evidence, pruned)
    return Judgement(breaches, steps, recovered, count, compared, pruned)
