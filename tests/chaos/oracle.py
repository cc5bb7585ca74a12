"""What must be true of a run when it is over; each breach is a sentence with the jobs it is about."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

from sqlalchemy import select

from shared.broker import QUEUE
from shared.coordination.stream import STREAM
from shared.result import read_marker
from shared.storage.layout import marker_key
from tests.chaos.cluster import Cluster
from web.database import Database
from web.models import Job, JobEvent
from web.states import TRANSITIONS

FINAL = {"succeeded", "failed", "canceled", "expired"}


def find_breaches(cluster: Cluster, accepted: dict[int, str]) -> list[str]:
    """Return every breach of a promise."""
    breaches: list[str] = []
    database = Database(cluster.settings.resolved_database_url)
    with database.read() as session:
        jobs = {job.id: job for job in session.scalars(select(Job))}
        events: dict[str, list[JobEvent]] = {job_id: [] for job_id in jobs}
        for event in session.scalars(select(JobEvent).order_by(JobEvent.job_id, JobEvent.sequence)):
            events[event.job_id].append(event)
    database.close()
    for number, job_id in accepted.items():
        if job_id not in jobs:
            breaches.append(f"number {number}: accepted as {job_id}, and lost")
    numbers = Counter(label.value for job in jobs.values() for label in job.labels if label.key == "n")
    breaches += [f"number {n} was taken {count} times" for n, count in numbers.items() if count != 1]
    for job in jobs.values():
        breaches += [f"job {job.id}: {fault}" for fault in _of_history(job, events[job.id])]
        if job.status == "succeeded":
            breaches += [f"job {job.id}: {fault}" for fault in _of_output(cluster, job)]
        else:
            breaches.append(f"job {job.id}: ended {job.status}: {job.error}")
    for name, length in (("queue", cluster.client.llen(QUEUE)), ("stream", cluster.client.xlen(STREAM))):
        if length:
            breaches.append(f"the {name} still holds {length}")
    return breaches


def _of_history(job: Job, events: list[JobEvent]) -> list[str]:
    faults = []
    if [event.sequence for event in events] != list(range(1, job.version + 1)):
        faults.append("its events are not numbered from 1 to its version")
    statuses = [event.data["status"] for event in events if event.type == "status"]
    if sum(status in FINAL for status in statuses) != 1 or statuses[-1] not in FINAL:
        faults.append(f"it did not end exactly once: {statuses}")
    legal = {(str(start), str(end)) for (start, _), end in TRANSITIONS.items()}
    faults += [f"{a} → {b} is not in the table" for a, b in pairwise(statuses) if (a, b) not in legal]
    if sum(event.type == "output" for event in events) != (job.status == "succeeded"):
        faults.append("it has not one output for its success")
    return faults


def _of_output(cluster: Cluster, job: Job) -> list[str]:
    storage = cluster.folder / "data" / "storage"
    if len(job.outputs) != 1:
        return [f"it has {len(job.outputs)} outputs"]
    path, marker = storage / job.outputs[0]["key"], storage / marker_key(job.id, job.attempt)
    if not path.exists():
        return ["its output is not there"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != job.outputs[0]["sha256"]:
        return ["its output has other bytes than its row says"]
    if not marker.exists():
        return ["its marker is not there"]
    if read_marker(marker.read_bytes()).outputs[0].model_dump() != job.outputs[0]:
        return ["its marker tells of another output"]
    return []
