"""All that is known of a run when it is over: what was asked, what was done, and what is left."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from typing import Any

from sqlalchemy import select

from shared.settings import Settings
from tests.chaos.failing_engine import FAILURE
from tests.chaos.hearing import Heard
from tests.chaos.load import DRAFTS, Submitted
from tests.chaos.pace import Pace
from tests.chaos.rescue_log import Rescued, read_rescues
from tests.chaos.scene import Injection
from tests.chaos.step_log import EngineRun, read_runs
from web.db.database import Database
from web.db.models import Job, JobCheckpoint, JobEvent

#: After these, Redis or control has to come to itself before it can see to lost leases and flags.
DISTURBING = {
    "kill_control", "restart_redis", "restart_redis_unseen", "wipe_redis", "flush_redis", "slow_redis",
    "full_redis",
    "refuse_commands", "disturb_reports", "lose_success", "full_disk", "read_only_disk", "restore",
    "restore_earlier_timeline", "long_full_disk", "upgrade",
}  # fmt: skip
_CLOCKS = {"clock_ahead", "clock_behind"}
_SETTLE_SECONDS = 2.0


@dataclass
class Evidence:
    """What the oracle judges."""

    settings: Settings
    pace: Pace
    engine: str
    damaged: set[str]
    submitted: list[Submitted] = field(default_factory=list)
    injections: list[Injection] = field(default_factory=list)
    #: Event streams as they were replayed over HTTP, by job.
    streams: dict[str, str] = field(default_factory=dict)
    #: What the receiver of webhooks was told, in order; None where nobody wanted to be told.
    heard: list[Heard] | None = None
    #: What Redis still held when all was over, in words.
    left_in_redis: list[str] = field(default_factory=list)
    #: Nodes that gave up because Redis refused to write, and that were started again.
    restarted: list[str] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    events: dict[str, list[JobEvent]] = field(default_factory=dict)
    checkpoints: dict[str, list[JobCheckpoint]] = field(default_factory=dict)
    runs: dict[str, list[EngineRun]] = field(default_factory=dict)
    rescues: list[Rescued] = field(default_factory=list)
    #: Queued jobs that were made due again, such as those whose message was missing.
    made_due: list[Rescued] = field(default_factory=list)
    #: By node, the errors of the engine for which it gave jobs back; without those made on purpose.
    faulted: list[tuple[str, str]] = field(default_factory=list)

    @property
    def storage(self) -> Path:
        """The folder of the store."""
        return self.settings.data_dir / "storage"

    def read(self, folder: Path) -> None:
        """Read what database and logs say."""
        database = Database(self.settings.resolved_database_url)
        events: Any = defaultdict(list)
        checkpoints: Any = defaultdict(list)
        runs: Any = defaultdict(list)
        with database.read() as session:
            self.jobs = {job.id: job for job in session.scalars(select(Job))}
            for event in session.scalars(select(JobEvent).order_by(JobEvent.job_id, JobEvent.sequence)):
                events[event.job_id].append(event)
            for checkpoint in session.scalars(select(JobCheckpoint)):
                checkpoints[checkpoint.job_id].append(checkpoint)
        database.close()
        for run in read_runs(folder / "steps"):
            runs[run.job_id].append(run)
        self.events, self.checkpoints, self.runs = events, checkpoints, runs
        self.rescues, self.made_due = read_rescues(folder / "rescues")
        self.faulted = [(path.stem, text) for path in folder.glob("logs/*.log") for text in _faulted(path)]

    def accepted(self) -> dict[str, str]:
        """Return every id that somebody was told of, and what it is."""
        known = {job_id: f"number {job.number}" for job in self.submitted for job_id in job.ids}
        for job in self.submitted:
            for what, answer in job.asked:
                if what == "fork" and answer.is_done:
                    known[answer.data["id"]] = f"fork of number {job.number}"
        return known

    def may_be_old(self, job: Submitted) -> bool:
        """Whether a clock was wrong in a job's life: a draft of minutes may then have been one of a day."""
        return any(fault.kind in _CLOCKS and fault.until > job.began for fault in self.injections)

    def removed_drafts(self) -> set[str]:
        """Return the drafts that are rightly not there any more: they looked old, and nobody kept them."""
        return {
            job_id
            for job in self.submitted
            if job.kind in DRAFTS and not is_kept(job) and self.may_be_old(job)
            for job_id in job.ids - self.jobs.keys()
        }

    def lost(self) -> dict[str, str]:
        """Return every id that somebody was told of and that must be there and is not, and what it is."""
        gone = self.jobs.keys() | self.removed_drafts()
        return {job_id: what for job_id, what in self.accepted().items() if job_id not in gone}

    def step_seconds(self) -> float:
        """Return what a step takes when it goes quickly: the first quartile of the run."""
        gaps = []
        for runs in self.runs.values():
            for run in runs:
                moments = list(run.made.values())
                gaps += [after - before for before, after in pairwise(moments)]
        return max(0.005, quantiles(gaps, n=4)[0]) if len(gaps) > 1 else 1.0

    def disturbances(self, start: float, end: float) -> list[Injection]:
        """Return the faults of Redis and control that were going on between two moments."""
        return [
            fault
            for fault in self.injections
            if fault.kind in DISTURBING and fault.at < end and self.settled_at(fault) > start
        ]

    def disturbed_seconds(self, start: float, end: float) -> float:
        """Return for how long, at most, nothing could be heard or seen to between two moments."""
        return sum(self.settled_at(fault) - fault.at for fault in self.disturbances(start, end))

    def settled_at(self, fault: Injection) -> float:
        """Return when things should go their way again after a fault."""
        return fault.until + _SETTLE_SECONDS + 2 * self.pace.renew + self.pace.rescue


def is_kept(job: Submitted) -> bool:
    """Whether a draft was made an ordinary job, which stays."""
    return any(what == "keep" and answer.is_done for what, answer in job.asked)


def _faulted(log: Path) -> Iterator[str]:
    for line in log.read_text(errors="replace").splitlines():
        if '"attempt_faulted"' in line and '"engine_failed"' in line and line.endswith("}"):
            detail = str(json.loads(line)["detail"])
            if FAILURE not in detail:
                yield detail
