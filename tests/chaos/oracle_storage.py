"""What must be true of the store: once what nobody needs is collected, every file is needed, and is there."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from shared.clock import utc_now
from shared.status import JobKind
from shared.storage.layout import asset_key, marker_key
from tests.chaos.evidence import Evidence
from web.backend import Backend
from web.control.pruner import Pruner
from web.db.models import Job
from web.jobs.thinning import NO_STATE
from web.protection import RESTORE_GRACE

_ROUNDS = 3


def find_breaches(evidence: Evidence, pruned: Counter[str]) -> list[str]:
    """Collect the garbage of a finished run, count it by kind, and return every breach as a sentence.

    The collector works with a clock by which everything is old, so that all drafts go, and jobs stay. That it
    removes nothing that is needed is judged by what is left.
    """
    settings = evidence.settings
    backend = Backend.open(settings.model_copy(update={"retention_days": 0}), upgrade=False)
    store = backend.storage
    later = utc_now() + timedelta(hours=settings.garbage_hours, days=3) + RESTORE_GRACE
    pruner = Pruner(backend, clock=lambda: later)
    breaches = []
    for _ in range(_ROUNDS):
        plan = [finding for finding in pruner.plan() if finding.kind != "inbox_entry"]
        if not plan:
            break
        removal = pruner.remove(plan)
        pruned.update(str(finding.kind) for finding in removal.removed)
        breaches += [f"{f.kind} {f.name} could not be removed" for f in removal.failed]
    else:
        breaches.append(f"the collector finds ever more: {pruner.plan()[:3]}")
    backend.close()
    there = {file.key for root in ("assets", "jobs", "check") for file in store.inventory(root)}
    kept = [job for job in evidence.jobs.values() if job.kind == JobKind.JOB.value]
    needed = {key for job in kept for key in _needed(evidence, job)}
    previews = {key for key in there if key.endswith("/preview.jpg")}
    breaches += [f"{key} is needed by nothing" for key in sorted(there - needed - previews)]
    breaches += [f"{key} is needed, and not there" for key in sorted(needed - there - evidence.damaged)]
    shown = Counter(key.split("/")[1] for key in previews)
    breaches += [f"job {job_id} has {count} previews" for job_id, count in shown.items() if count > 1]
    return breaches


def _needed(evidence: Evidence, job: Job) -> set[str]:
    needed = {asset_key(asset.sha256) for asset in (job.content, job.style)}
    needed |= {output["key"] for output in job.outputs}
    if job.outputs and job.status_reason != "reused":
        needed.add(marker_key(job.id, int(job.outputs[0]["key"].split("/attempt-")[1].split("/")[0])))
    for checkpoint in evidence.checkpoints[job.id]:
        needed |= {checkpoint.key, checkpoint.picture_key} - {NO_STATE}
    return needed | ({job.origin["key"]} if job.origin else set())
