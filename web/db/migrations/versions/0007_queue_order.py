"""The order of the queue: jobs that were handed back go first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "jobs", sa.Column("is_handed_back", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_index(
        "ix_jobs_queue",
        "jobs",
        [
            "status",
            "leader_id",
            "dispatched_at",
            sa.text("is_handed_back DESC"),
            sa.text("priority DESC"),
            "created_at",
            "id",
        ],
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_jobs_queue", table_name="jobs")
    op.drop_column("jobs", "is_handed_back")
