"""What jobs took: the runs that say how long others will."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from shared.status import JobStatus
from web.estimate import MeasuredRun, Work
from web.models import Asset, Job
from web.reuse import REUSED


def measured_runs(session: Session, *, limit: int = 200) -> list[MeasuredRun]:
    """Return the last runs that were measured as a whole, those of the newest jobs first.

    What was reused, forked, extended, resumed or begun again is left out: its seconds are not those of its
    steps. Newest by `created_at`, which is in the index of the status: nothing is sorted.
    """
    content, style = aliased(Asset), aliased(Asset)
    query = (
        select(Job.metrics, Job.options, Job.device, content.width, content.height, style.width, style.height)
        .join(content, content.id == Job.content_asset_id)
        .join(style, style.id == Job.style_asset_id)
        .where(
            Job.status == JobStatus.SUCCEEDED.value,
            or_(Job.status_reason.is_(None), Job.status_reason != REUSED),
            Job.attempt == 1,
            Job.resumed_from_step.is_(None),
            Job.origin.is_(None),
        )
        .order_by(Job.created_at.desc())
        .limit(limit)
    )
    runs = []
    for metrics, options, device, *sizes in session.execute(query):
        if metrics.get("run_seconds"):
            work = Work.of(
                options["steps"], options["size"], content=(sizes[0], sizes[1]), style=(sizes[2], sizes[3])
            )
            runs.append(MeasuredRun(work, device, float(metrics["run_seconds"])))
    return runs
