"""Changes of a job that has not begun: its priority, its name, its labels."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from shared.errors import InvalidState
from shared.status import JobStatus
from web.db.models import Job, JobChange, JobLabel
from web.jobs.fairness import FlowKey, changes_to_queue, next_start, settle
from web.jobs.fields import ChangeBody
from web.jobs.routing import is_handed_back, queue_rank
from web.jobs.states import CHANGEABLE
from web.jobs.transitions import HistoryEntry, insert_rows, known_row, write_changes


def labels_of(job: Job) -> dict[str, str]:
    """Return a job's labels, in the order of their keys."""
    return {label.key: label.value for label in job.labels}


def write_change(session: Session, job: Job, body: ChangeBody, *, now: datetime) -> None:
    """Change what a job has that has not begun: its place in the queue, its name, its labels.

    Raises:
        InvalidState: when a worker has it, or it has ended.
    """
    if job.job_status not in CHANGEABLE:
        raise InvalidState(
            f"the job is {job.status}; priority, name and labels can be changed only while it is queued or "
            "paused"
        )
    values: dict[str, Any] = {}
    told: dict[str, Any] = {}
    if body.priority is not None and body.priority != job.priority:
        told["priority"] = body.priority
        rank = queue_rank(body.priority, is_handed_back=is_handed_back(job.queue_rank))
        # Its message is to lie elsewhere.
        values |= {"priority": body.priority, "queue_rank": rank, "dispatched_at": None}
        values |= changes_to_queue(session, job, values)
        if job.leader_id is not None:
            hurry_leader(session, job.leader_id, priority=body.priority)
    if body.name is not None and (name := body.name.strip()) != job.name:
        told["name"] = values["name"] = name
    if body.labels is not None and body.labels != labels_of(job):
        told["labels"] = dict(sorted(body.labels.items()))
        _replace_labels(session, job, body.labels)
    if told:
        left = FlowKey.of(job, job.queue_rank)
        write_changes(session, job, values, now=now, entries=[HistoryEntry("change", told)])
        if "priority" in told:
            settle(session, left)


def hurry_leader(session: Session, leader_id: str, *, priority: int) -> None:
    """Let a queued job go no later than one of a priority that waits for its result; it keeps its own.

    Its message is due again, to be put in its new place.
    """
    rank = queue_rank(priority)
    later = (Job.id == leader_id, Job.queue_rank > rank, Job.status == JobStatus.QUEUED.value)
    found = session.execute(select(Job.caller, Job.route).where(*later)).one_or_none()
    if found is not None:
        start = next_start(session, FlowKey(found.caller, found.route, priority))
        values = {"queue_rank": rank, "virtual_start": start, "dispatched_at": None}
        session.execute(update(Job).where(*later).values(values))


def _replace_labels(session: Session, job: Job, labels: Mapping[str, str]) -> None:
    table = JobLabel.metadata.tables[JobLabel.__tablename__]
    session.connection().execute(delete(table).where(table.c.job_id == job.id))
    tags = [{"job_id": job.id, "key": key, "value": value} for key, value in sorted(labels.items())]
    for label in list(job.labels):
        session.expunge(label)
    if tags:
        insert_rows(session, JobLabel, tags)
    set_committed_value(job, "labels", [known_row(session, JobLabel, tag) for tag in tags])
    if session.get_bind().dialect.name == "sqlite":
        insert_rows(session, JobChange, [{"job_id": None}])  # whoever has counted by labels counts anew
