"""What was told by webhooks: each end at least once, a message in one wording, and nothing made up."""

from __future__ import annotations

from collections.abc import Iterator

from shared.status import FINAL_STATUSES
from tests.chaos.evidence import Evidence
from tests.chaos.load import DRAFTS


def find_breaches(evidence: Evidence) -> Iterator[str]:
    """Yield what is wrong."""
    if evidence.heard is None:
        return
    bodies: dict[str, bytes] = {}
    known = evidence.accepted().keys() | evidence.jobs.keys()
    for message in evidence.heard:
        if message.is_forged:
            yield f"message {message.id} was told with a signature that is none"
        if bodies.setdefault(message.id, message.body) != message.body:
            yield f"message {message.id} was told in different words"
        if message.job_id not in known:
            yield f"message {message.id} tells of job {message.job_id}, which nobody submitted"
        if message.type != f"job.{message.status}":
            yield f"message {message.id} is {message.type}, and tells that the job is {message.status}"
    told = {(message.job_id, message.version, message.status) for message in evidence.heard}
    drafts = {job_id for job in evidence.submitted if job.kind in DRAFTS for job_id in job.ids}
    for job in evidence.jobs.values():
        if job.id in drafts or job.status not in FINAL_STATUSES:
            continue
        if (job.id, job.version, job.status) not in told:
            yield f"that job {job.id} is {job.status} was never told (version {job.version})"
