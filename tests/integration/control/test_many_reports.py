"""What it costs to write down many reports that have piled up."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.clock import utc_now
from shared.options import StyleOptions
from shared.protocol import EventType, WorkerEvent
from tests.support.rows import add_picture
from tests.support.statements import noted_statements
from web.control.projector import Projector
from web.db.models import Job
from web.jobs.queries import add_job
from web.jobs.transitions import _update_statement

_JOBS = 60
_WHO = {"worker_id": "gpu-a", "device": "cuda:0", "resumed_from_step": None}
_WITH = {"weights": {"name": "untrained", "sha256": None, "notice": None}, "engine_version": "1"}
_LOSSES = {"total": 1.0, "content": 0.5, "style": 0.5}


@pytest.fixture
def report(services):
    """Let so many jobs report that they have begun, and then a checkpoint; return their ids."""

    def do(count: int) -> list[str]:
        now, stream = utc_now(), services.backend.redis.stream
        with services.backend.database.write() as session:
            asset = add_picture(session, now=now)
            ids = [
                add_job(
                    session, caller="local", name="", content=asset, style=asset, options=StyleOptions(),
                    labels={}, max_attempts=3, now=now,
                ).id
                for _ in range(count)
            ]  # fmt: skip
        files = {"key": "state", "picture_key": "picture", "sha256": "0" * 64, "curve": [[5, 1.0, 0.5, 0.5]]}
        told = {
            EventType.CLAIMED: {**_WHO, **_WITH},
            EventType.CHECKPOINTED: {"step": 5, "steps": 8, "losses": _LOSSES, **files},
        }
        for kind, data in told.items():
            for job_id in ids:
                event_id = f"{job_id}:{kind}"
                stream.report(
                    WorkerEvent(event_id=event_id, type=kind, job_id=job_id, attempt=1, at=now, data=data)
                )
        return ids

    return do


def test_they_are_written_in_groups_with_few_statements_that_are_made_once(services, report):
    projector = Projector(services.backend, clock=utc_now)
    report(1)
    projector.drain()
    made = _update_statement.cache_info().misses
    ids = report(_JOBS)
    with noted_statements() as noted:
        projector.drain()
    assert _update_statement.cache_info().misses == made
    reports = 2 * _JOBS
    counted = Counter(one.split("(")[0].split(" SET ")[0].strip() for one in noted)
    assert counted["BEGIN IMMEDIATE"] <= 4  # a hundred are fetched at once, and fifty go together
    assert counted["INSERT INTO job_events"] == reports
    assert counted["UPDATE jobs"] == reports
    assert len(noted) <= 4 * reports + 40
    assert sum("webhooks" in one for one in noted) <= 4, "nobody wants to be told: asked once a transaction"
    with services.backend.database.read() as session:
        jobs = [session.get(Job, job_id) for job_id in ids]
    assert {(job.status, job.step, job.worker_id, job.losses["total"]) for job in jobs} == {
        ("running", 5, "gpu-a", 1.0)
    }
