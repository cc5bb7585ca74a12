"""What kind a job is, and the route that it takes; all that is there is a job that any node may take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BEFORE = ["status", "leader_id", "dispatched_at", "queue_rank", "created_at", "id"]
_QUEUE = ["status", "leader_id", "route", *_BEFORE[2:]]


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("kind", sa.String(), nullable=False, server_default="job"))
    op.add_column("jobs", sa.Column("route", sa.String(), nullable=False, server_default="any"))
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.create_index("ix_jobs_queue", "jobs", _QUEUE)
    op.create_index("ix_jobs_route_started_at", "jobs", ["route", "started_at"])
    op.create_index("ix_jobs_caller_kind_id", "jobs", ["caller", "kind", "id"])
    op.create_index("ix_jobs_caller_kind_status_id", "jobs", ["caller", "kind", "status", "id"])
    op.drop_index("ix_jobs_caller_id", table_name="jobs")
    op.drop_index("ix_jobs_caller_status_id", table_name="jobs")


def downgrade() -> None:
    """Undo."""
    op.create_index("ix_jobs_caller_status_id", "jobs", ["caller", "status", "id"])
    op.create_index("ix_jobs_caller_id", "jobs", ["caller", "id"])
    op.drop_index("ix_jobs_caller_kind_status_id", table_name="jobs")
    op.drop_index("ix_jobs_caller_kind_id", table_name="jobs")
    op.drop_index("ix_jobs_route_started_at", table_name="jobs")
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.create_index("ix_jobs_queue", "jobs", _BEFORE)
    op.drop_column("jobs", "route")
    op.drop_column("jobs", "kind")
