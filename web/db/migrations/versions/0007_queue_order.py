"""The order of the queue: jobs that were handed back go first. All that is queued keeps its place, by age."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = ["status", "leader_id", "dispatched_at", "queue_rank", "created_at", "id"]


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("queue_rank", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_jobs_queue", "jobs", _COLUMNS)
    op.create_index("ix_jobs_status_queue_deadline", "jobs", ["status", "queue_deadline"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_jobs_status_queue_deadline", table_name="jobs")
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.drop_column("jobs", "queue_rank")
